import json

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from apps.accounts.roles import PlatformRole
from apps.jobtemplates import services
from apps.jobtemplates.models import JobTemplate, TemplateVersion
from tests.factories import UserFactory

pytestmark = pytest.mark.django_db
SCHEMA = {"type": "object", "properties": {"text": {"type": "string", "default": "hi"}}, "additionalProperties": False}
BODY = {"image": "busybox", "command": ["echo", {"$param": "text"}]}


@pytest.fixture
def shipped():
    return services.install_shipped()


@pytest.fixture
def admin():
    return UserFactory(username="boss", platform_role=PlatformRole.PLATFORM_ADMIN)


@pytest.fixture
def as_(client):
    def sign_in(user):
        client.force_login(user)
        return client

    return sign_in


class TestPortal:
    def test_the_gallery_shows_what_can_be_run(self, as_, viewer, project, shipped):
        services.set_enabled(template=JobTemplate.objects.get(slug="python"), enabled=False, actor=None)

        page = as_(viewer).get(f"/projects/{project.slug}/templates/").content.decode()

        assert "Distributed PyTorch" in page
        assert "Python script" not in page

    def test_the_docs_page_lists_the_parameters(self, as_, viewer, project, shipped):
        page = as_(viewer).get(f"/projects/{project.slug}/templates/pytorch/").content.decode()

        assert "Processes per worker" in page
        assert "1 to 16" in page
        assert " style=" not in page

    @pytest.mark.parametrize("url", ["/projects/{}/templates/", "/api/v1/templates/"])
    def test_a_number_of_queries_that_does_not_grow(self, as_, viewer, project, shipped, url):
        client, url = as_(viewer), url.format(project.slug)
        client.get(url)
        with CaptureQueriesContext(connection) as few:
            client.get(url)

        for number in range(10):
            services.publish_version(slug=f"more-{number}", name="More", schema=SCHEMA, body=BODY, actor=None)
        with CaptureQueriesContext(connection) as many:
            assert b"more-9" in client.get(url).content

        assert len(many) == len(few)

    @pytest.mark.parametrize("path", ["", "command/"])
    def test_an_outsider_finds_nothing(self, as_, outsider, project, shipped, path):
        assert as_(outsider).get(f"/projects/{project.slug}/templates/{path}").status_code == 404

    def test_an_unknown_template_is_not_found(self, as_, viewer, project, shipped):
        assert as_(viewer).get(f"/projects/{project.slug}/templates/nope/").status_code == 404


class TestApi:
    def test_any_signed_in_person_reads(self, as_, outsider, shipped):
        client = as_(outsider)

        found = client.get("/api/v1/templates/").json()["results"]
        one = client.get("/api/v1/templates/command/").json()
        same = client.get("/api/v1/templates/command/versions/1/").json()

        assert [template["slug"] for template in found] == ["command", "python", "pytorch", "distributed-python"]
        assert found[0]["latest"]["number"] == 1
        assert one["latest"]["schema"]["required"] == ["image", "command"]
        assert [row["name"] for row in one["latest"]["params"]][:2] == ["image", "command"]
        assert same == one["latest"]

    def test_nobody_reads_unsigned(self, client, shipped):
        assert client.get("/api/v1/templates/").status_code in (302, 401, 403)

    def test_unknown_things_are_not_found(self, as_, outsider, shipped):
        client = as_(outsider)

        assert client.get("/api/v1/templates/nope/").status_code == 404
        assert client.get("/api/v1/templates/command/versions/9/").status_code == 404
        assert client.get("/api/v1/templates/nope/versions/").status_code == 404

    def test_a_platform_admin_publishes(self, as_, admin):
        client = as_(admin)
        url, body = "/api/v1/templates/echo/versions/", {"name": "Echo", "schema": SCHEMA, "body": BODY}

        first = client.post(url, body, content_type="application/json")
        again = client.post(url, {"schema": SCHEMA, "body": BODY}, content_type="application/json")
        second = client.post(url, {"schema": SCHEMA, "body": {"image": "a"}}, content_type="application/json")

        assert [(answer.status_code, answer.json()["number"]) for answer in (first, again, second)] == [
            (201, 1),
            (200, 1),
            (201, 2),
        ]
        assert JobTemplate.objects.get().name == "Echo"

    def test_others_do_not(self, as_, owner):
        answer = as_(owner).post(
            "/api/v1/templates/echo/versions/",
            {"name": "Echo", "schema": SCHEMA, "body": BODY},
            content_type="application/json",
        )

        assert answer.status_code == 403
        assert JobTemplate.objects.count() == 0

    def test_a_bad_schema_is_named_and_nothing_is_made(self, as_, admin):
        bad = {"type": "object", "properties": {"x": {"type": "string", "pattern": "^(a+)+$"}}}

        answer = as_(admin).post(
            "/api/v1/templates/echo/versions/",
            {"schema": {**bad, "additionalProperties": False}, "body": BODY},
            content_type="application/json",
        )

        assert answer.status_code == 400
        assert [error["field"] for error in answer.json()["errors"]] == ["schema.properties.x.pattern"]
        assert JobTemplate.objects.count() == 0

    def test_unknown_fields_are_refused(self, as_, admin):
        answer = as_(admin).post(
            "/api/v1/templates/echo/versions/",
            {"schema": SCHEMA, "body": BODY, "nam": "x"},
            content_type="application/json",
        )

        assert [error["field"] for error in answer.json()["errors"]] == ["nam"]


class TestAdmin:
    def test_reading(self, as_, admin, shipped):
        client = as_(admin)
        template = JobTemplate.objects.get(slug="pytorch")
        for name, args in (
            ("jobtemplate_changelist", []),
            ("jobtemplate_change", [template.pk]),
            ("templateversion_changelist", []),
            ("templateversion_change", [template.latest.pk]),
            ("jobtemplate_publish_new", []),
            ("jobtemplate_publish_version", [template.pk]),
        ):
            assert client.get(reverse(f"admin:jobtemplates_{name}", args=args)).status_code == 200, name

    def publish(self, client, **fields):
        data = {"slug": "echo", "name": "Echo", "schema": json.dumps(SCHEMA), "body": "image: busybox", **fields}
        return client.post(reverse("admin:jobtemplates_jobtemplate_publish_new"), data)

    def test_publishing_from_text(self, as_, admin):
        answer = self.publish(as_(admin))

        assert answer.status_code == 302
        assert TemplateVersion.objects.get().body == {"image": "busybox"}

    @pytest.mark.parametrize(
        ("fields", "field", "message"),
        [
            ({"schema": "a: &a [1]\nb: *a"}, "schema", "references (*name) are not allowed"),
            ({"schema": "type: array"}, "schema", "schema.type: Must be"),
            ({"body": "image: {$param: nope}"}, "body", "body.image.$param: There is no parameter nope."),
            ({"body": "image: [", "notes": "x"}, "body", "Line 1"),
        ],
    )
    def test_a_bad_text_is_told_at_its_field(self, as_, admin, fields, field, message):
        answer = self.publish(as_(admin), **fields)

        assert answer.status_code == 200
        assert any(message in error for error in answer.context["form"].errors[field])
        assert TemplateVersion.objects.count() == 0

    def test_an_auditor_reads_but_does_not_publish(self, as_, shipped):
        client = as_(UserFactory(username="auditor", platform_role=PlatformRole.AUDITOR))

        assert client.get(reverse("admin:jobtemplates_jobtemplate_changelist")).status_code == 200
        assert self.publish(client).status_code == 403
        assert not JobTemplate.objects.filter(slug="echo").exists()

    def test_words_are_changed_through_the_service(self, as_, admin, shipped):
        template = JobTemplate.objects.get(slug="command")
        url = reverse("admin:jobtemplates_jobtemplate_change", args=[template.pk])
        data = {"name": "Shell", "summary": "s", "icon": "box", "position": "5", "category": "", "description": ""}
        inline = {"versions-TOTAL_FORMS": "0", "versions-INITIAL_FORMS": "0"}

        assert as_(admin).post(url, data | inline).status_code == 302

        assert JobTemplate.objects.get(slug="command").name == "Shell"
