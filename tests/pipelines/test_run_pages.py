"""Pages of runs: starting one, watching it, one task of it, two side by side."""

import json
import uuid
from datetime import UTC, datetime, timedelta

import pytest
from django.urls import reverse

from apps.clusters.models import Cluster
from apps.jobs.models import Job
from apps.jobtemplates.models import TemplateVersion
from apps.pipelines import comparing, services, watching
from apps.pipelines.choices import TaskStatus
from apps.pipelines.models import Run, TaskRun, Version
from tests.factories import ClusterFactory

T0 = datetime(2026, 11, 24, 2, 0, tzinfo=UTC)


def at(name, project, **kwargs):
    return reverse(f"pipelines:{name}", kwargs={"project": project.slug, **kwargs})


def after(seconds):
    return T0 + timedelta(seconds=seconds)


@pytest.fixture
def begun(make_pipeline, member):
    """A run as it stands after a while: `a` has succeeded, `b` has two of three items done, `c` waits."""

    def make(name="flow", **changes):
        graph = {
            "tasks": {
                "a": {"template": "echo", "title": "First"},
                "b": {"template": "echo", "needs": ["a"], "for_each": [1, 2, 3]},
                "c": {"template": "echo", "needs": ["b"]},
            }
        }
        pipeline = make_pipeline(name, graph=graph)
        run = services.start_run(pipeline=pipeline, actor=member)
        Run.objects.filter(pk=run.pk).update(status="running", started_at=T0, version=3)
        ended = {"status": TaskStatus.SUCCEEDED, "started_at": after(2), "finished_at": after(12)}
        TaskRun.objects.create(run=run, key="a", tries=2, outputs={"rows": 3}, ready_at=T0, **ended)
        TaskRun.objects.create(
            run=run,
            key="b",
            status=TaskStatus.RUNNING,
            item_count=3,
            items_left=1,
            items_failed=1,
            started_at=after(12),
        )
        for index, status in enumerate([TaskStatus.SUCCEEDED, TaskStatus.FAILED, TaskStatus.RUNNING]):
            TaskRun.objects.create(run=run, key="b", index=index, item=index + 1, status=status)
        TaskRun.objects.create(run=run, key="c")
        return Run.objects.get(pk=run.pk)

    return make


def job_of(project, name):
    cluster, version = Cluster.objects.first() or ClusterFactory(), TemplateVersion.objects.get()
    return Job.objects.create(project=project, name=name, cluster=cluster, template_version=version)


def graph_of(run):
    return Version.objects.get(pk=run.pipeline_version_id).graph


class TestStart:
    SCHEMA = {"properties": {"day": {"type": "string"}, "n": {"type": "integer", "minimum": 1}}, "required": ["n"]}

    @pytest.fixture
    def pipeline(self, make_pipeline):
        return make_pipeline(graph={"params": self.SCHEMA, "tasks": {"a": {"template": "echo"}}})

    def post(self, client, project, pipeline, **data):
        url = at("start", project, uid=pipeline.uid)
        return client.post(url, {"uid": str(uuid.uuid4()), "priority": "0", **data})

    def test_asks_for_the_parameters_of_the_version(self, client, project, member, pipeline):
        client.force_login(member)

        answer = self.post(client, project, pipeline, **{"param-n": "3", "param-day": "monday", "priority": "5"})

        run = Run.objects.get()
        assert (run.params, run.priority, run.trigger, run.started_by) == (
            {"n": 3, "day": "monday"},
            5,
            "manual",
            member,
        )
        assert answer.url == at("run", project, uid=run.uid)

    def test_sent_twice_it_is_one_run(self, client, project, member, pipeline):
        client.force_login(member)
        uid = str(uuid.uuid4())

        answers = [self.post(client, project, pipeline, uid=uid, **{"param-n": "3"}) for _ in range(2)]

        assert Run.objects.count() == 1
        assert answers[0].url == answers[1].url

    @pytest.mark.parametrize("data", [{}, {"param-n": "0"}, {"param-n": "x"}, {"param-n": "1", "priority": "1000"}])
    def test_a_refusal_marks_the_field_and_starts_nothing(self, client, project, member, pipeline, data):
        client.force_login(member)

        answer = self.post(client, project, pipeline, **data)

        assert answer.status_code == 422
        assert answer.context["param_form"].errors or answer.context["start_form"].errors
        assert not Run.objects.exists()

    def test_begins_with_the_parameters_of_another_run(self, client, project, member, pipeline):
        services.start_run(pipeline=pipeline, params={"n": 7}, actor=member)
        client.force_login(member)

        page = client.get(at("start", project, uid=pipeline.uid), {"like": str(Run.objects.get().uid)})

        assert page.context["param_form"]["param-n"].value() == 7

    def test_without_a_version_there_is_nothing_to_start(self, client, project, member):
        pipeline = services.create_pipeline(project=project, name="empty", actor=member)
        client.force_login(member)

        assert client.get(at("start", project, uid=pipeline.uid)).status_code == 404


class TestWatching:
    def test_a_fan_out_is_one_line_with_its_counts(self, begun):
        run = begun()
        lines = watching.lines_of(run, graph_of(run))

        assert [line.key for line in lines] == ["a", "b", "c"]
        states = watching.states_of(lines)
        assert states["a"] == {"status": "succeeded", "label": "Succeeded", "words": "10s · try 2"}
        assert states["b"]["words"].startswith("2 of 3 · 1 failed · ")
        assert states["c"] == {
            "status": "waiting",
            "label": "Waiting for other tasks",
            "words": "Waiting for other tasks",
        }

    def test_an_ignored_failure_says_so(self, begun):
        run = begun()
        TaskRun.objects.filter(run=run, key="a").update(status="failed", is_ignored=True)

        state = watching.states_of(watching.lines_of(run, graph_of(run)))["a"]

        assert (state["status"], state["label"]) == ("ignored", "Failed, ignored")

    def test_bars_stand_where_the_time_was(self, begun):
        run = begun()
        TaskRun.objects.filter(run=run, key="b").update(finished_at=after(20))

        chart = watching.chart_of(run, watching.lines_of(run, graph_of(run)))

        assert chart.seconds == 20
        assert [(bar.line.key, bar.left, bar.width, bar.waited) for bar in chart.bars] == [
            ("a", 10.0, 50.0, 10.0),
            ("b", 60.0, 40.0, 0.0),
        ]

    def test_no_bar_begins_before_its_task_was_ready(self, begun):
        run = begun()
        TaskRun.objects.filter(run=run, key="b").update(ready_at=after(13), started_at=after(12), finished_at=after(20))

        chart = watching.chart_of(run, watching.lines_of(run, graph_of(run)))

        assert [(bar.line.key, bar.left, bar.width, bar.waited) for bar in chart.bars][1] == ("b", 65.0, 35.0, 0.0)

    def test_of_too_many_tasks_the_most_urgent_are_listed(self):
        rows = [TaskRun(key=f"t{n}", status="failed" if n == 350 else "succeeded") for n in range(400)]

        shown = watching.listed([watching.Line(row, {}) for row in rows])

        assert (len(shown), shown[0].key, shown[1].key) == (watching.LISTED, "t350", "t0")

    def test_a_run_that_has_not_begun_has_neither(self, make_pipeline, member):
        run = services.start_run(pipeline=make_pipeline(), actor=member)
        lines = watching.lines_of(run, graph_of(run))

        assert (lines, watching.chart_of(run, lines)) == ([], None)


class TestRunPage:
    def test_to_members_only(self, client, project, viewer, outsider, begun):
        url = at("run", project, uid=begun().uid)

        client.force_login(outsider)
        assert client.get(url).status_code == 404
        client.force_login(viewer)
        page = client.get(url).content.decode()
        assert "First" in page
        assert "Stop this run?" not in page

    def test_costs_the_same_however_many_items_and_events_there_are(
        self, client, project, member, begun, django_assert_num_queries, django_assert_max_num_queries
    ):
        run = begun()
        client.force_login(member)
        url = at("run", project, uid=run.uid)

        with django_assert_max_num_queries(16) as few:
            client.get(url)
        TaskRun.objects.bulk_create(TaskRun(run=run, key="b", index=index) for index in range(3, 200))
        with django_assert_num_queries(len(few)):
            client.get(url)

    def test_its_script_is_told_states_alone(self, client, project, viewer, begun):
        client.force_login(viewer)

        fragment = client.get(at("run", project, uid=begun().uid), headers={"HX-Request": "true"}).content.decode()

        state = json.loads(fragment.partition('id="run-state" type="application/json">')[2].partition("</script>")[0])
        assert (state["version"], set(state["tasks"])) == (3, {"a", "b", "c"})
        assert "<html" not in fragment


class TestTaskPanel:
    def test_shows_outputs_and_items(self, client, project, viewer, begun):
        url = at("task", project, uid=begun().uid)
        client.force_login(viewer)

        assert "rows" in client.get(url, {"key": "a"}).content.decode()
        items = client.get(url, {"key": "b"}).context["items"]
        assert [(row.index, row.status) for row in items.rows] == [(0, "succeeded"), (1, "failed"), (2, "running")]
        assert items.more is None
        assert client.get(url, {"key": "b", "index": "1"}).context["task"].item == 2

    def test_pages_through_many_items(self, begun):
        run = begun()
        TaskRun.objects.bulk_create(TaskRun(run=run, key="b", index=index) for index in range(3, 150))

        first = watching.items_of(run, "b")
        second = watching.items_of(run, "b", first.more)

        assert (len(first.rows), first.more) == (100, 100)
        assert [row.index for row in second.rows] == list(range(100, 150))

    @pytest.mark.parametrize("query", [{}, {"key": "z"}, {"key": "a", "index": "x"}, {"key": "b", "index": "9"}])
    def test_what_is_not_there_is_not_found(self, client, project, viewer, begun, query):
        client.force_login(viewer)

        assert client.get(at("task", project, uid=begun().uid), query).status_code == 404

    def test_offers_only_what_the_role_allows(self, client, project, viewer, member, operator, begun):
        run = begun()
        TaskRun.objects.filter(run=run, key="a").update(status="failed")

        def offered(person):
            client.force_login(person)
            page = client.get(at("task", project, uid=run.uid), {"key": "a"}).content.decode()
            return {verb for verb in ("clear", "ignore", "mark") if at(verb, project, uid=run.uid) in page}

        assert offered(viewer) == set()
        assert offered(member) == {"clear"}
        assert offered(operator) == {"clear", "ignore", "mark"}

    def test_offers_to_debug_the_latest_try_to_those_who_may(self, client, project, viewer, member, begun):
        run = begun()
        job = job_of(project, "a")
        TaskRun.objects.filter(run=run, key="a").update(job=job)
        debug = reverse("jobs:debug", kwargs={"project": project.slug, "uid": job.uid})

        def page(person, key):
            client.force_login(person)
            return client.get(at("task", project, uid=run.uid), {"key": key}).content.decode()

        assert debug in page(member, "a")
        assert debug not in page(viewer, "a")
        assert "/debug/" not in page(member, "c")  # no job yet

    def test_offers_to_debug_an_item_of_a_fan_out_the_failed_one_first(self, client, project, viewer, member, begun):
        run = begun()
        for item in TaskRun.objects.filter(run=run, key="b", index__in=[0, 1]):
            TaskRun.objects.filter(pk=item.pk).update(job=job_of(project, f"b-{item.index}"))

        def panel(person):
            client.force_login(person)
            return client.get(at("task", project, uid=run.uid), {"key": "b"})

        assert [item.index for item in panel(member).context["debug_items"]] == [1, 0]  # the third has no job yet
        assert at("debug", project, uid=run.uid) in panel(member).content.decode()
        assert "/debug/" not in panel(viewer).content.decode()


class TestCompare:
    def test_puts_two_runs_side_by_side(self, client, project, viewer, begun):
        left, right = begun("one"), begun("two")
        TaskRun.objects.filter(run=right, key="a").update(finished_at=after(17), outputs={"rows": 4, "new": 1})
        client.force_login(viewer)

        tasks = client.get(at("compare", project), {"left": left.uid, "right": right.uid}).context["tasks"]

        first = tasks[0]
        assert (first.key, first.slower_by, first.statuses.differs) == ("a", 5, False)
        assert first.outputs == [comparing.Pair("new", None, 1), comparing.Pair("rows", 3, 4)]

    @pytest.mark.parametrize("query", [{}, {"left": "x", "right": "y"}, {"left": str(uuid.uuid4())}])
    def test_what_is_no_run_is_not_found(self, client, project, viewer, query):
        client.force_login(viewer)

        assert client.get(at("compare", project), query).status_code == 404


class TestDebugItem:
    def post(self, client, project, run, **data):
        return client.post(at("debug", project, uid=run.uid), {"key": "b", "hours": "2", **data})

    def test_opens_the_terminal_of_the_chosen_item(self, client, project, member, begun):
        run, job = begun(), job_of(project, "b-1")
        TaskRun.objects.filter(run=run, key="b", index=1).update(job=job)
        client.force_login(member)

        answers = [self.post(client, project, run, index="1") for _click in range(2)]

        session = Job.objects.get(is_debug=True)
        assert (session.debug_of, session.time_limit_seconds) == (job, 7200)
        terminal = reverse("jobs:terminal", kwargs={"project": project.slug, "uid": session.uid})
        assert [answer.url for answer in answers] == [terminal] * 2

    @pytest.mark.parametrize("data", [{"index": "0"}, {"index": "9"}, {"index": "x"}, {"key": "zz"}, {"hours": "3"}])
    def test_refuses_what_has_no_job_and_starts_nothing(self, client, project, member, begun, data):
        run = begun()
        client.force_login(member)

        answer = self.post(client, project, run, **{"index": "1", **data})

        assert answer.url.startswith(at("run", project, uid=run.uid))
        assert not Job.objects.filter(is_debug=True).exists()


class TestVerbs:
    @pytest.mark.parametrize("verb", ["stop", "rerun", "clear", "mark", "ignore", "debug"])
    def test_are_not_for_viewers_nor_outsiders(self, client, project, viewer, outsider, begun, verb):
        run = begun()
        url = at(verb, project, uid=run.uid)

        for person, status in ((viewer, 403), (outsider, 404)):
            client.force_login(person)
            assert client.post(url, {"key": "a", "status": "failed"}).status_code == status
        assert Run.objects.count() == 1
        assert Run.objects.get(pk=run.pk).version == run.version

    @pytest.mark.parametrize("verb", ["mark", "ignore"])
    def test_overruling_is_for_operators(self, client, project, member, begun, verb):
        client.force_login(member)

        assert client.post(at(verb, project, uid=begun().uid), {"key": "a", "status": "failed"}).status_code == 403
        assert TaskRun.objects.get(key="a").status == "succeeded"

    def test_stop_asks_the_run_to_end(self, client, project, member, begun):
        run = begun()
        client.force_login(member)

        answer = client.post(at("stop", project, uid=run.uid))

        assert answer.url == at("run", project, uid=run.uid)
        assert Run.objects.get(pk=run.pk).status == "stopping"

    def test_rerun_makes_another_run(self, client, project, member, begun):
        run = begun()
        client.force_login(member)

        answer = client.post(at("rerun", project, uid=run.uid), {"scope": "all"})

        new = Run.objects.exclude(pk=run.pk).get()
        assert (new.rerun_of, new.trigger) == (run, "rerun")
        assert answer.url == at("run", project, uid=new.uid)

    @pytest.mark.parametrize(
        ("verb", "data"),
        [
            ("clear", {"key": "zz"}),
            ("mark", {"key": "a", "status": "running"}),
            ("mark", {"key": "a", "status": "failed", "index": "²"}),
            ("ignore", {"key": "a"}),
            ("rerun", {"scope": "only", "key": "zz"}),
        ],
    )
    def test_a_refusal_is_told_and_changes_nothing(self, client, project, owner, begun, verb, data):
        run = begun()
        client.force_login(owner)

        answer = client.post(at(verb, project, uid=run.uid), data, follow=True)

        assert [message.level_tag for message in answer.context["messages"]] == ["error"]
        assert Run.objects.count() == 1
        assert TaskRun.objects.get(run=run, key="a").status == "succeeded"
