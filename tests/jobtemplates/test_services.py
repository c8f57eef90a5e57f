import pytest

from apps.accounts.models import AuditEntry
from apps.core import events
from apps.core.errors import InvalidInput
from apps.jobtemplates import docs, selectors, services
from apps.jobtemplates.events import TemplateVersionPublished
from apps.jobtemplates.models import JobTemplate, TemplateVersion
from tests.factories import TemplateVersionFactory, UserFactory

pytestmark = pytest.mark.django_db
SCHEMA = {"type": "object", "properties": {"text": {"type": "string", "default": "hi"}}, "additionalProperties": False}
BODY = {"image": "busybox", "command": ["echo", {"$param": "text"}]}


def publish(**changes):
    wanted = {"slug": "echo", "name": "Echo", "schema": SCHEMA, "body": BODY, "actor": None}
    return services.publish_version(**wanted | changes)


class TestPublishVersion:
    def test_the_first_makes_the_template(self, django_capture_on_commit_callbacks, monkeypatch):
        told = []
        monkeypatch.setitem(events._handlers, TemplateVersionPublished, [told.append])
        person = UserFactory()

        with django_capture_on_commit_callbacks(execute=True):
            version = publish(summary="Says it.", notes="First.", actor=person)

        assert (version.number, version.template.slug, version.template.summary) == (1, "echo", "Says it.")
        assert version.schema["properties"]["text"]["x-ui"] == {"order": 1}
        assert told == [TemplateVersionPublished(version.template_id, version.pk, 1)]
        assert list(AuditEntry.objects.values_list("action", "actor").order_by("id")) == [
            ("template.create", person.pk),
            ("template.publish", person.pk),
        ]

    def test_changed_content_is_the_next_number_and_the_old_stays(self):
        first = publish()

        second = publish(body={**BODY, "working_dir": "/srv"})

        assert (second.number, second.template_id) == (2, first.template_id)
        assert TemplateVersion.objects.get(pk=first.pk).body == BODY

    def test_unchanged_content_publishes_nothing_but_words_follow(self):
        first = publish()

        again = publish(summary="New words.")

        assert again == first
        assert TemplateVersion.objects.count() == 1
        assert JobTemplate.objects.get().summary == "New words."

    @pytest.mark.parametrize(
        ("changes", "place"),
        [
            ({"schema": {**SCHEMA, "type": "array"}}, "schema.type"),
            ({"body": {"image": {"$param": "nope"}}}, "body.image.$param"),
            ({"slug": "not a slug"}, "slug"),
            ({"name": ""}, "name"),
            ({"notes": "x" * 301}, "notes"),
        ],
    )
    def test_a_bad_one_leaves_nothing_behind(self, changes, place):
        with pytest.raises(InvalidInput) as refusal:
            publish(**changes)

        assert set(refusal.value.fields) == {place}
        assert (JobTemplate.objects.count(), TemplateVersion.objects.count(), AuditEntry.objects.count()) == (0, 0, 0)

    def test_a_version_never_changes(self):
        version = publish()
        version.notes = "Rewritten."

        with pytest.raises(TypeError):
            version.save()

        assert TemplateVersion.objects.get().notes == ""


class TestSelectors:
    def test_enabled_templates_take_two_queries_however_many_there_are(self, django_assert_num_queries):
        for slug in "abcde":
            publish(slug=slug, position=ord(slug))
            publish(slug=slug, position=ord(slug), body={"image": "alpine"})
        services.set_enabled(template=JobTemplate.objects.get(slug="c"), enabled=False, actor=None)
        JobTemplate.objects.create(slug="empty", name="Never published")

        with django_assert_num_queries(2):
            found = [(template.slug, template.latest.number) for template in selectors.enabled_templates()]

        assert found == [("a", 2), ("b", 2), ("d", 2), ("e", 2)]

    def test_latest_version(self):
        publish()
        newest = publish(body={"image": "alpine"})

        assert selectors.latest_version("echo") == newest

    def test_a_disabled_template_is_as_good_as_none(self):
        services.set_enabled(template=publish().template, enabled=False, actor=None)

        with pytest.raises(InvalidInput) as refusal:
            selectors.latest_version("echo")

        assert refusal.value.fields == {"template": ["There is no template 'echo'."]}

    def test_the_factory_makes_what_publishing_would_accept(self):
        version = TemplateVersionFactory()

        assert selectors.latest_version("echo") == version


def test_docs_come_from_the_schema():
    services.install_shipped()

    doc = docs.docs_for(selectors.latest_version("pytorch"))

    rows = {row.name: row for row in doc.params}
    assert list(rows)[:4] == ["image", "source", "code", "path"]
    assert (rows["workers"].type, rows["workers"].range, rows["workers"].default) == ("whole number", "1 to 64", 2)
    assert rows["backend"].choices == ("gloo when device is cpu", "nccl, gloo when device is gpu")
    assert rows["code"].applies == "when source is typed"
    assert docs.docs_for(selectors.latest_version("command")).example["params"] == {
        "image": "python:3.11-slim",
        "command": "python -c 'print(1)'",
    }
