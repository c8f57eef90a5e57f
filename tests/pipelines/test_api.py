"""The REST doors of pipelines and runs."""

import uuid

import pytest
from django.utils import timezone
from rest_framework.test import APIClient

from apps.pipelines import services
from apps.pipelines.models import Pipeline, Run, RunEvent, Version
from apps.projects.roles import Role
from apps.projects.services import set_role
from tests.factories import ProjectFactory

from .conftest import graph_of


@pytest.fixture
def api(member):
    client = APIClient()
    client.force_authenticate(member)
    return client


@pytest.fixture
def ready(cluster_row, template_version):
    """A cluster and a template to refer to."""


def of(project, what="pipelines"):
    return f"/api/v1/projects/{project.slug}/{what}/"


@pytest.mark.usefixtures("ready")
class TestPipelines:
    def test_are_made_with_a_first_version(self, api, project):
        answer = api.post(of(project), {"name": "flow", "graph": graph_of(a={}, b={"needs": ["a"]})})

        assert answer.status_code == 201
        assert (answer.json()["name"], answer.json()["newest_version"]) == ("flow", 1)
        assert api.get(of(project)).json()["results"] == [answer.json()]

    @pytest.mark.parametrize(
        ("graph", "field", "words"),
        [
            (graph_of(a={"needs": ["b"]}, b={"needs": ["a"]}), "tasks.a.needs", "a → b → a"),
            (graph_of(a={"needs": ["z"]}), "tasks.a.needs[0]", "There is no task 'z'"),
            (graph_of(a={"colour": "red"}), "tasks.a.colour", "no such field"),
            (graph_of(a={"template": "nope"}), "tasks.a.template", "There is no template 'nope'"),
            (graph_of(a={"template": "echo@7"}), "tasks.a.template", "no template version echo@7"),
            (graph_of(a={"params": {"text": 3}}), "tasks.a.params.text", "Must be text"),
            (graph_of(a={"params": {"other": "x"}}), "tasks.a.params.other", "no such parameter"),
            (graph_of(a={"params": {"text": "{{ run.__class__ }}"}}), "tasks.a.params.text", "begins with '_'"),
            (graph_of(a={"params": {"text": "{{ config }}"}}), "tasks.a.params.text", "There is no 'config'"),
            (graph_of(a={"params": {"text": "{{ item }}"}}), "tasks.a.params.text", "needs a for_each"),
            (graph_of(a={"when": "params.x"}), "tasks.a.when", "no parameter 'x'"),
            (graph_of(a={"retries": {"count": 99}}), "tasks.a.retries", "count: "),
            (graph_of(a={"resources": {"cpu": "lots"}}), "tasks.a.resources.cpu", "quantity"),
            (graph_of(a={"cluster": "mars"}), "tasks.a.cluster", "no such cluster"),
            ({"tasks": {}}, "tasks", "at least one task"),
            ({"tasks": {"A": {"template": "echo"}}}, "tasks.A", "lower-case"),
            ({**graph_of(a={}), "params": {"properties": {"x": {"type": "tuple"}}}}, "params.properties.x.type", ""),
            ({**graph_of(a={}), "parallelism": 0}, "parallelism", "from 1 to 1000"),
            ("tasks", "graph", "object"),
        ],
    )
    def test_refuse_a_bad_graph_by_its_field(self, api, project, graph, field, words):
        answer = api.post(of(project), {"name": "flow", "graph": graph})

        assert answer.status_code == 400
        told = {error["field"]: error["message"] for error in answer.json()["errors"]}
        assert words in told[field]
        assert not Pipeline.objects.exists()

    def test_refuses_more_tasks_than_stated(self, api, project):
        graph = {"tasks": {f"t{n}": {"template": "echo"} for n in range(10_000)}}

        answer = api.post(of(project), {"name": "flow", "graph": graph})

        assert answer.json()["errors"] == [{"field": "tasks", "message": "At most 4000 tasks."}]

    def test_a_check_saves_nothing(self, api, project):
        good = api.post(of(project) + "check/", {"graph": graph_of(a={})}).json()
        bad = api.post(of(project) + "check/", {"document": "tasks: {a: {template: nope}}"}).json()

        assert (good["problems"], good["graph"]["tasks"]) == ({}, {"a": {"template": "echo@1"}})
        assert list(bad["problems"]) == ["tasks.a.template"]
        assert not Pipeline.objects.exists()

    def test_versions_are_saved_listed_and_compared(self, api, project, make_pipeline):
        pipeline = make_pipeline(a={}, b={"needs": ["a"]})
        url = f"/api/v1/pipelines/{pipeline.uid}/"
        graph = graph_of(a={"priority": 5}, c={})

        saved = api.post(url + "versions/", {"graph": graph, "based_on": 1, "comment": "no b"})
        late = api.post(url + "versions/", {"graph": graph_of(a={}), "based_on": 1})

        assert (saved.status_code, saved.json()["number"]) == (201, 2)
        assert (late.status_code, late.json()["code"]) == (409, "edited_meanwhile")
        assert [v["number"] for v in api.get(url + "versions/").json()["results"]] == [2, 1]
        assert api.get(url + "versions/1/").json()["graph"]["tasks"]["b"] == {"template": "echo@1", "needs": ["a"]}
        assert api.get(url + "versions/9/").status_code == 404
        assert api.get(url + "diff/").json() == {
            "added": ["c"],
            "removed": ["b"],
            "changed": ["a"],
            "changes": [{"path": "tasks.a.priority", "before": None, "after": 5}],
        }

    def test_what_is_exported_can_be_imported(self, api, project, make_pipeline):
        graph = {**graph_of(a={"params": {"text": "x\ny"}}, b={"needs": ["a"]}), "parallelism": 3}
        pipeline = make_pipeline(graph=graph)

        text = api.get(f"/api/v1/pipelines/{pipeline.uid}/export/").content.decode()
        answer = api.post(of(project) + "import/", {"name": "again", "document": text})

        assert answer.status_code == 201
        first, second = Version.objects.order_by("id")
        assert (first.digest, first.graph) == (second.digest, second.graph)

    def test_importing_over_a_name_makes_a_version(self, api, project, make_pipeline):
        make_pipeline("flow")

        answer = api.post(of(project) + "import/", {"name": "flow", "document": "tasks: {z: {template: echo}}"})

        assert (answer.json()["newest_version"], Pipeline.objects.count()) == (2, 1)

    def test_are_described_and_archived(self, api, make_pipeline):
        pipeline = make_pipeline()
        url = f"/api/v1/pipelines/{pipeline.uid}/"

        answer = api.patch(url, {"name": "other", "is_archived": True})

        assert (answer.json()["name"], answer.json()["is_archived"]) == ("other", True)

    def test_are_copied_where_one_may_edit(self, api, member, make_pipeline):
        pipeline, there, closed = make_pipeline(), ProjectFactory(), ProjectFactory()
        set_role(project=there, user=member, role=Role.DEVELOPER)
        set_role(project=closed, user=member, role=Role.VIEWER)
        url = f"/api/v1/pipelines/{pipeline.uid}/copy/"

        made, refused = (api.post(url, {"project": p.slug}) for p in (there, closed))

        assert (made.status_code, made.json()["project"]) == (201, there.slug)
        assert (refused.status_code, refused.json()["errors"][0]["field"]) == (400, "project")
        assert Pipeline.objects.filter(project=closed).count() == 0


class TestRuns:
    def test_are_started(self, api, project, make_pipeline):
        pipeline, uid = make_pipeline(), str(uuid.uuid4())
        body = {"pipeline": str(pipeline.uid), "uid": uid, "logical_at": "2026-11-24T02:00:00Z"}

        first, second = (api.post(of(project, "runs"), body) for _ in range(2))

        assert first.status_code == 201
        assert (first.json()["uid"], second.json()["uid"]) == (uid, uid)
        assert (first.json()["status"], first.json()["trigger"], first.json()["pipeline_version"]) == (
            "queued",
            "api",
            1,
        )
        assert Run.objects.count() == 1

    @pytest.mark.parametrize(
        ("change", "field"),
        [
            ({"pipeline": str(uuid.uuid4())}, "pipeline"),
            ({"pipeline_version": 9}, "pipeline_version"),
            ({"params": {"x": 1}}, "params.x"),
            ({"params": []}, "params"),
            ({"nonsense": 1}, "nonsense"),
        ],
    )
    def test_refuse_bad_input_by_its_field(self, api, project, make_pipeline, change, field):
        answer = api.post(of(project, "runs"), {"pipeline": str(make_pipeline().uid), **change})

        assert answer.status_code == 400
        assert [error["field"] for error in answer.json()["errors"]] == [field]
        assert not Run.objects.exists()

    def test_another_projects_pipeline_is_none(self, api, project, make_pipeline, member):
        elsewhere = ProjectFactory()
        set_role(project=elsewhere, user=member, role=Role.DEVELOPER)

        answer = api.post(of(elsewhere, "runs"), {"pipeline": str(make_pipeline().uid)})

        assert answer.json()["errors"][0]["field"] == "pipeline"

    def test_show_their_tasks_and_timeline(self, api, flow):
        world = flow(a={"for_each": [1, 2]}, b={"needs": ["a"]})
        url = f"/api/v1/runs/{world.run.uid}/"

        run, tasks = api.get(url).json(), api.get(url + "tasks/").json()["results"]

        assert (run["status"], [e["text"] for e in run["events"]]) == ("running", ["Started.", "Began with 2 tasks."])
        assert [(t["key"], t["index"], t["status"]) for t in tasks] == [
            ("a", -1, "running"),
            ("b", -1, "waiting"),
            ("a", 0, "submitted"),
            ("a", 1, "submitted"),
        ]
        assert tasks[2]["history"] == [{"number": 1, "job": tasks[2]["job"], "at": tasks[2]["history"][0]["at"]}]
        assert len(api.get(url + "tasks/?items=false").json()["results"]) == 2
        assert len(api.get(url + "tasks/?status=submitted&key=a").json()["results"]) == 2

    def test_a_page_of_tasks_costs_the_same_for_few_and_many(self, api, flow, django_assert_num_queries):
        few = flow(a={})
        Pipeline.objects.update(name="before")
        many = flow(a={"for_each": list(range(20))})

        for world in (few, many):
            with django_assert_num_queries(5):  # the run, the right, tasks, tries, their jobs
                api.get(f"/api/v1/runs/{world.run.uid}/tasks/")

    def test_one_costs_the_same_however_long_its_story_is(self, api, flow, member, django_assert_num_queries):
        world = flow(a={})
        url = f"/api/v1/runs/{world.run.uid}/"

        for _nth in range(2):
            with django_assert_num_queries(3):  # the run, the right, the timeline
                api.get(url)
            for text in ("one", "two", "three"):
                RunEvent.objects.create(run=world.run, at=timezone.now(), text=text, actor=member)

    def test_are_filtered(self, api, project, make_pipeline):
        one, two = make_pipeline("one"), make_pipeline("two")
        services.start_run(pipeline=one, trigger="schedule")
        services.start_run(pipeline=two)

        def found(query):
            return [r["pipeline_name"] for r in api.get(of(project, "runs") + query).json()["results"]]

        assert found("") == ["two", "one"]
        assert found(f"?pipeline={one.uid}") == ["one"]
        assert found("?trigger=schedule&status=queued") == ["one"]
        assert found("?status=running") == []

    def test_are_steered(self, api, flow, operator):
        world = flow(a={}, b={"needs": ["a"]})
        world.fail("a")
        url, over = f"/api/v1/runs/{world.run.uid}/", APIClient()
        over.force_authenticate(operator)

        assert api.post(url + "rerun/", {"reuse": True}).status_code == 201
        assert over.post(url + "ignore/", {"task": "a"}).json()["status"] == "running"
        assert over.post(url + "mark/", {"task": "b", "status": "failed"}).json()["status"] == "failed"
        assert api.post(url + "clear/", {"tasks": ["b"]}).json()["status"] == "running"
        assert api.post(url + "stop/").json()["status"] == "stopping"
        assert api.post(url + "clear/", {"tasks": ["a"]}).status_code == 409


class TestRoles:
    @pytest.mark.parametrize(
        ("who", "reading", "editing", "running", "overruling"),
        [
            ("outsider", 404, 404, 404, 404),
            ("viewer", 200, 403, 403, 403),
            ("member", 200, 400, 200, 403),
            ("operator", 200, 400, 200, 409),
            ("owner", 200, 400, 200, 409),
        ],
    )
    def test_decide_what_one_may(self, request, flow, who, reading, editing, running, overruling):
        world = flow(a={})
        client = APIClient()
        client.force_authenticate(request.getfixturevalue(who))
        run, pipeline = f"/api/v1/runs/{world.run.uid}/", f"/api/v1/pipelines/{world.run.pipeline.uid}/"

        assert client.get(run).status_code == reading
        assert client.get(pipeline).status_code == reading
        assert client.post(pipeline + "versions/", {"graph": {}}).status_code == editing
        assert client.post(run + "ignore/", {"task": "a"}).status_code == overruling
        assert client.post(run + "stop/").status_code == running
