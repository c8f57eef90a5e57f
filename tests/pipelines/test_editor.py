"""The editor's page and what its scripts ask: drawn panels, read panels, checks, saves."""

import json

import pytest
from django.http import QueryDict
from django.urls import reverse

from apps.pipelines import drafts, services
from apps.pipelines.forms import TaskForm, initial_of, panel_for
from apps.pipelines.models import Pipeline, Version
from tests.factories import TemplateVersionFactory

SCHEMA = {
    "type": "object",
    "additionalProperties": False,
    "required": ["epochs"],
    "properties": {
        "epochs": {"type": "integer", "minimum": 1},
        "rate": {"type": "number", "default": 0.1},
        "kind": {"type": "string", "enum": ["small", "large"], "default": "small"},
        "verbose": {"type": "boolean", "default": False},
        "args": {"type": "array", "items": {"type": "string"}},
        "note": {"type": "string"},
        "code": {"type": "string", "x-ui": {"widget": "code"}},
    },
}


@pytest.fixture
def trainer(db):
    version = TemplateVersionFactory.build(schema=SCHEMA)
    version.template.save()
    version.save()
    return version


def at(name, project, **kwargs):
    return reverse(f"pipelines:{name}", kwargs={"project": project.slug, **kwargs})


def send(client, url, body):
    return client.post(url, json.dumps(body), content_type="application/json")


class TestPanelForm:
    def test_reads_what_it_shows(self, trainer):
        params = {
            "epochs": 3,
            "kind": "large",
            "verbose": True,
            "args": ["--seed={{ item }}"],
            "note": "{{ params.x }}",
        }
        shown = panel_for(trainer, params=params)
        data = as_posted(shown.form)

        assert panel_for(trainer, data=data).written() == params

    def test_leaves_out_what_the_template_takes_anyway(self, trainer):
        data = {"param-epochs": "3", "param-rate": "0.1", "param-kind": "small", "param-note": ""}

        assert panel_for(trainer, data=as_query(data)).written() == {"epochs": 3}

    @pytest.mark.parametrize("name", ["epochs", "rate", "kind", "verbose", "args"])
    def test_any_parameter_but_code_may_be_an_expression(self, trainer, name):
        panel = panel_for(trainer, params={name: "{{ params.x }}"})

        assert panel.expressions == {name}
        data = as_posted(panel.form)
        assert panel_for(trainer, data=data, expressions=[name]).written()[name] == "{{ params.x }}"

    def test_code_is_never_an_expression(self, trainer):
        panel = panel_for(trainer, params={"code": "print('{{ x }}')"}, expressions=["code"])

        assert (panel.expressions, "code" in panel.switchable) == (frozenset(), False)

    def test_what_is_no_number_reaches_the_judge_as_it_is(self, trainer):
        assert panel_for(trainer, data=as_query({"param-epochs": "three"})).written() == {"epochs": "three"}


class TestTaskForm:
    TASK = {
        "title": "Train",
        "template": "echo@1",
        "trigger": "all_done",
        "when": "params.go",
        "for_each": [1, {"a": 2}],
        "skip": True,
        "retries": {"count": 2, "factor": 1.5, "fatal_exit_codes": [2, 64]},
        "resources": {"cpu": "2~4", "memory": "8Gi"},
        "timeout_seconds": 60,
        "priority": -5,
    }

    def test_reads_what_it_shows(self, db):
        shown = TaskForm(initial=initial_of(self.TASK))
        written = TaskForm(as_posted(shown)).written()

        assert {name: value for name, value in written.items() if value is not None} == self.TASK

    @pytest.mark.parametrize(
        "task", [{"retries": 3, "resources": "big"}, {"title": {"a": 1}}, {"for_each": "params.seeds"}]
    )
    def test_shows_any_document(self, db, task):
        assert "template" in str(TaskForm(initial=initial_of(task))["template"])

    @pytest.mark.parametrize(
        ("text", "value"),
        [("params.seeds", "params.seeds"), ("[1, 2]", [1, 2]), ("[params.a]", "[params.a]"), (" ", None)],
    )
    def test_for_each_is_a_list_or_an_expression(self, db, text, value):
        assert TaskForm(as_query({"template": "echo@1", "for_each": text})).written()["for_each"] == value


def as_query(data):
    query = QueryDict(mutable=True)
    for name, value in data.items():
        query.setlist(name, value) if isinstance(value, list) else query.update({name: str(value)})
    return query


def as_posted(form):
    """What a browser would send of an untouched form."""
    values = {bound.html_name: bound.value() for bound in form}
    return as_query({name: value for name, value in values.items() if value not in (None, False)})


class TestDrafts:
    def test_yaml_and_graph_say_the_same(self, trainer):
        graph = {"tasks": {"a": {"template": "echo@1", "params": {"epochs": 1}, "position": {"x": 1, "y": 2}}}}
        text = drafts.from_graph(graph)["yaml"]

        assert drafts.from_text(text) == {"graph": graph, "errors": {}}

    def test_unreadable_text_is_no_graph_and_names_the_line(self, db):
        answer = drafts.from_text("tasks: [")

        assert answer["graph"] is None
        assert answer["errors"]["graph"][0].startswith("Line 1, column 9")

    @pytest.mark.parametrize("text", ["[]", "tasks: 3", "tasks: {a: 1}", "a: b", "params: 1\ntasks: {}"])
    def test_what_cannot_be_drawn_is_no_graph(self, db, text):
        answer = drafts.from_text(text)

        assert answer["graph"] is None
        assert answer["errors"]

    def test_what_is_wrong_within_a_task_can_be_drawn(self, trainer):
        answer = drafts.from_text("tasks: {a: {template: echo, params: {epochs: 0}}}")

        assert answer["graph"] == {"tasks": {"a": {"template": "echo", "params": {"epochs": 0}}}}
        assert list(answer["errors"]) == ["tasks.a.params.epochs"]

    def test_unknown_fields_and_rings_are_not_lost_on_the_way_to_text(self, trainer):
        odd = {
            "tasks": {
                "a": {"template": "echo", "mood": "good", "needs": ["b"]},
                "b": {"template": "echo", "needs": ["a"]},
            }
        }
        text = drafts.from_graph(odd)["yaml"]

        assert drafts.from_text(text)["graph"] == odd


class TestChecking:
    def test_tells_errors_by_path(self, client, project, member, trainer):
        client.force_login(member)

        answer = send(client, at("check", project), {"graph": {"tasks": {"a": {"template": "echo"}}}})

        assert list(answer.json()["errors"]) == ["tasks.a.params.epochs"]
        assert "template: echo" in answer.json()["yaml"]

    @pytest.mark.parametrize("body", ["[]", "{", '{"graph": NaN}', '{"graph": ' + "[" * 2000 + "]" * 2000 + "}", ""])
    def test_hostile_bodies_are_refused(self, client, project, member, body):
        client.force_login(member)

        answer = client.post(at("check", project), body, content_type="application/json")

        assert answer.status_code == 422

    @pytest.mark.parametrize("name", ["check", "panel", "read"])
    def test_is_for_those_who_edit(self, client, project, viewer, outsider, name):
        client.force_login(viewer)
        assert send(client, at(name, project), {}).status_code == 403
        client.force_login(outsider)
        assert send(client, at(name, project), {}).status_code == 404


class TestDrawingAndReading:
    def test_a_panel_comes_back_as_the_task_it_was_drawn_from(self, client, project, member, trainer, cluster_row):
        client.force_login(member)
        task = {"template": "echo@1", "params": {"epochs": 3}}

        page = send(client, at("panel", project), {"task": task, "expressions": ["rate"]}).content.decode()

        assert 'name="param-epochs"' in page
        assert '<input type="hidden" name="expression" value="rate">' in page
        read = client.post(at("read", project), {"template": "echo@1", "param-epochs": "3"})
        fields = read.json()["fields"]
        assert {name: value for name, value in fields.items() if value is not None} == task

    def test_an_unknown_template_keeps_its_parameters(self, client, project, member, cluster_row):
        client.force_login(member)

        fields = client.post(at("read", project), {"template": "gone@3"}).json()["fields"]

        assert fields["template"] == "gone@3"
        assert "params" not in fields
        page = send(client, at("panel", project), {"task": {"template": "gone@3"}}).content.decode()
        assert "There is no such template any more" in page

    @pytest.mark.parametrize("task", [None, 3, {"template": 3, "params": 3}, {"template": "echo@99999999999"}])
    def test_a_task_of_any_kind_is_drawn(self, client, project, member, cluster_row, task):
        client.force_login(member)

        assert send(client, at("panel", project), {"task": task, "expressions": 3}).status_code == 200

    def test_what_a_tenant_wrote_is_escaped(self, client, project, member, trainer, cluster_row):
        client.force_login(member)
        task = {"title": "<script>alert(1)</script>", "template": '"><script>', "params": {}}

        page = send(client, at("panel", project), {"task": task}).content.decode()

        assert "<script>" not in page


class TestEditor:
    def test_brings_the_newest_version_and_asks_a_constant_number_of_questions(
        self, client, project, member, make_pipeline, django_assert_num_queries, django_assert_max_num_queries
    ):
        pipeline = make_pipeline("one", a={}, b={"needs": ["a"]})
        client.force_login(member)
        url = at("edit", project, uid=pipeline.uid)

        with django_assert_max_num_queries(14) as first:
            page = client.get(url)
        services.save_version(
            pipeline=pipeline, graph={"tasks": {f"t{n}": {"template": "echo"} for n in range(60)}}, actor=member
        )
        with django_assert_num_queries(len(first)):
            client.get(url)

        assert page.context["editor"]["base"] == 1
        assert set(page.context["editor"]["graph"]["tasks"]) == {"a", "b"}
        assert "params" not in page.context["editor"]["graph"]

    def test_is_for_those_who_edit(self, client, project, viewer, outsider, make_pipeline):
        url = at("edit", project, uid=make_pipeline().uid)

        client.force_login(viewer)
        assert client.get(url).status_code == 403
        client.force_login(outsider)
        assert client.get(url).status_code == 404


class TestSaving:
    @pytest.fixture
    def pipeline(self, make_pipeline):
        return make_pipeline()

    @pytest.fixture
    def save(self, client, project, member, pipeline):
        client.force_login(member)
        return lambda **body: send(client, at("save", project, uid=pipeline.uid), body)

    GRAPH = {"tasks": {"c": {"template": "echo@1"}}}

    def test_makes_the_next_version(self, save, pipeline, member):
        answer = save(graph=self.GRAPH, comment="other", base=1)

        assert (answer.status_code, answer.json()) == (200, {"number": 2, "is_new": True})
        newest = pipeline.versions.first()
        assert (newest.number, newest.comment, newest.author) == (2, "other", member)

    def test_saving_the_same_again_makes_none(self, save, pipeline):
        save(graph=self.GRAPH, base=1)

        answer = save(graph=self.GRAPH, base=2)

        assert answer.json() == {"number": 2, "is_new": False}
        assert pipeline.versions.count() == 2

    def test_tells_what_somebody_else_saved_meanwhile(self, save, pipeline, owner):
        theirs = {"tasks": {"c": {"template": "echo@1", "title": "Theirs"}}}
        services.save_version(pipeline=pipeline, graph=theirs, comment="mine", based_on=1, actor=owner)

        answer = save(graph=self.GRAPH, base=1)

        assert answer.status_code == 409
        told = answer.json()
        assert (told["number"], told["author"], told["comment"]) == (2, owner.username, "mine")
        assert told["changes"] == [{"path": "tasks.c.title", "before": "Theirs", "after": None}]
        assert pipeline.versions.count() == 2
        assert save(graph=self.GRAPH, base=2).json() == {"number": 3, "is_new": True}

    @pytest.mark.parametrize(
        ("body", "field"),
        [
            ({"graph": GRAPH, "base": "1"}, "base"),
            ({"graph": GRAPH, "base": True}, "base"),
            ({"graph": {"tasks": {}}, "base": 1}, "tasks"),
            ({"graph": None, "base": 1}, "graph"),
            ({"graph": {"tasks": {"a": {"template": "none"}}}, "base": 1}, "tasks.a.template"),
        ],
    )
    def test_a_refusal_names_the_field_and_saves_nothing(self, save, body, field):
        answer = save(**body)

        assert answer.status_code == 422
        assert list(answer.json()["errors"]) == [field]
        assert Version.objects.count() == 1

    def test_an_archived_pipeline_takes_none(self, save, pipeline, member):
        services.set_archived(pipeline=pipeline, archived=True, actor=member)

        assert save(graph=self.GRAPH, base=1).status_code == 422
        assert Version.objects.count() == 1

    def test_is_for_those_who_edit(self, client, project, viewer, outsider, pipeline):
        for person, status in ((viewer, 403), (outsider, 404)):
            client.force_login(person)
            assert (
                send(client, at("save", project, uid=pipeline.uid), {"graph": self.GRAPH, "base": 1}).status_code
                == status
            )
        assert Version.objects.count() == 1
        assert Pipeline.objects.count() == 1
