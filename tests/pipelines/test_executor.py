"""Runs as they go on: begun, tried, ended; what their tasks hand on; what they say when they cannot."""

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from apps.jobs.choices import JobStatus, Reason
from apps.jobs.models import Job
from apps.pipelines import executor, services, submitting, tasks, woken
from apps.pipelines.choices import RunStatus, TaskStatus
from apps.pipelines.models import TaskTry

from .conftest import fresh, graph_of


class TestOneAfterTheOther:
    def test_begins_with_what_needs_nothing(self, flow, cluster):
        world = flow(a={"params": {"text": "hi"}}, b={"needs": ["a"]})

        assert (world.status, world.statuses()) == ("running", {"a": "submitted", "b": "waiting"})
        job = world.row("a").job
        assert (job.name, job.params, job.status) == ("flow-a", {"text": "hi"}, JobStatus.STARTING)
        assert job.needs_outputs

    def test_follows_its_jobs_to_the_end(self, flow):
        world = flow(a={}, b={"needs": ["a"]})

        world.running("a")
        assert world.statuses() == {"a": "running", "b": "waiting"}
        world.succeed("a")
        assert world.statuses() == {"a": "succeeded", "b": "submitted"}
        world.succeed("b")

        assert (world.status, world.reason) == (RunStatus.SUCCEEDED, "")
        run = fresh(world.run)
        assert (run.unfinished_tasks, run.active_tasks, run.failed_tasks) == (0, 0, 0)
        assert run.finished_at is not None

    def test_a_failure_ends_what_needs_it_and_lets_the_rest_go_on(self, flow):
        world = flow(a={}, b={"needs": ["a"]}, c={"needs": ["b"]}, d={})

        world.fail("a")

        assert world.statuses() == {
            "a": "failed", "b": "upstream_failed", "c": "upstream_failed", "d": "submitted",
        }  # fmt: skip
        assert world.row("a").message == "It broke."
        world.succeed("d")
        assert (world.status, world.reason) == ("failed", "TasksFailed")

    def test_never_more_active_tasks_than_allowed(self, flow):
        world = flow({**graph_of(a={}, b={"priority": 5}, c={}), "parallelism": 1})

        assert world.statuses() == {"a": "ready", "b": "submitted", "c": "ready"}
        world.succeed("b")
        assert world.statuses() == {"a": "submitted", "b": "succeeded", "c": "ready"}

    def test_an_event_that_comes_twice_changes_nothing(self, flow):
        world = flow(a={}, b={"needs": ["a"]})
        world.succeed("a")
        version = fresh(world.run).version

        world.advance()
        world.advance()

        assert (fresh(world.run).version, Job.objects.count()) == (version, 2)

    def test_one_message_is_under_way_at_a_time(self, flow, monkeypatch):
        world, sent = flow(a={}, b={}), []
        monkeypatch.setattr("apps.pipelines.tasks.advance_woken.delay", lambda: sent.append("look"))

        world.succeed("a")
        world.succeed("b")

        assert sent == ["look"]
        with world.deliver(execute=True):
            tasks.advance_woken()
        assert world.status == "succeeded"


class TestOutputs:
    def test_reach_the_parameters_of_later_tasks(self, flow):
        world = flow(a={}, b={"needs": ["a"], "params": {"text": "{{ outputs.a.rows }} rows of {{ run.pipeline }}"}})

        world.succeed("a", rows=12)

        assert world.row("b").params == {"text": "12 rows of flow"}
        assert world.row("b").job.params == {"text": "12 rows of flow"}

    def test_what_was_not_written_fails_the_task_that_reads_it(self, flow):
        world = flow(a={}, b={"needs": ["a"], "params": {"text": "{{ outputs.a.rows }}"}})

        world.succeed("a", other=1)

        b = world.row("b")
        assert (b.status, b.reason) == (TaskStatus.FAILED, "ExpressionFailed")
        assert b.message == "params.text: outputs.a has no rows."
        assert world.status == "failed"

    def test_what_does_not_fit_the_parameter_fails_the_task(self, flow):
        world = flow(a={}, b={"needs": ["a"], "params": {"text": "{{ outputs.a.rows }}"}})

        world.succeed("a", rows=12)

        assert (world.row("b").status, world.row("b").message) == ("failed", "params.text: Must be text.")

    def test_useless_ones_fail_the_task_that_wrote_them(self, flow):
        world = flow(a={})
        world.row("a").job.attempts.update(outputs_problem="It wrote too much.")

        world.succeed("a")

        assert (world.row("a").reason, world.row("a").message) == ("InvalidOutputs", "It wrote too much.")


class TestWriting:
    def test_what_was_not_read_is_not_overwritten(self, flow):
        """`b` has started before `a` ends: its tallies change, its parameters, which no event reads, do not."""
        world = flow(
            a={},
            b={"needs": ["a", "c"], "trigger": "one_success", "params": {"text": "kept"}},
            c={},
            d={"needs": ["a"], "for_each": ["x"]},
        )
        world.succeed("c")
        assert world.row("b").status == "submitted"

        world.succeed("a")
        world.succeed("d", 0, n=1)

        b = world.row("b")
        assert (b.params, b.needs_succeeded) == ({"text": "kept"}, 2)
        assert (world.row("d", 0).item, world.row("d", 0).outputs) == ("x", {"n": 1})
        assert world.row("d", 0).params == {"text": "hello"}


class TestConditions:
    @pytest.mark.parametrize(("rows", "status"), [(12, "submitted"), (3, "skipped")])
    def test_decide_with_upstream_outputs(self, flow, rows, status):
        world = flow(a={}, b={"needs": ["a"], "when": "outputs.a.rows > 10"}, c={"needs": ["b"]})

        world.succeed("a", rows=rows)

        assert world.row("b").status == status
        assert world.row("c").status == ("waiting" if status == "submitted" else "skipped")

    def test_a_skipped_task_is_no_failure(self, flow):
        world = flow(a={"when": "false"}, b={"needs": ["a"]})

        assert (world.status, world.statuses()) == ("succeeded", {"a": "skipped", "b": "skipped"})
        assert world.row("a").reason == "ConditionFalse"

    def test_a_switched_off_task_counts_as_succeeded(self, flow):
        world = flow(a={"skip": True}, b={"needs": ["a"], "params": {"text": "{{ outputs.a.x | default('none') }}"}})

        assert world.statuses() == {"a": "skipped", "b": "submitted"}
        assert world.row("b").params == {"text": "none"}


class TestItems:
    def test_run_apart_and_hand_on_a_list(self, flow):
        world = flow(
            a={"for_each": ["x", "y"], "params": {"text": "{{ item }} {{ index }}"}},
            b={"needs": ["a"], "params": {"text": "{{ outputs.a.score | json }}"}},
        )
        assert world.statuses() == {"a": "running", "b": "waiting", "a[0]": "submitted", "a[1]": "submitted"}
        assert [world.row("a", n).params["text"] for n in (0, 1)] == ["x 0", "y 1"]

        world.succeed("a", 1, score=2)
        assert world.row("b").status == "waiting"
        world.succeed("a", 0)

        assert world.row("a").outputs == {"score": [None, 2]}
        assert world.row("b").params == {"text": "[null, 2]"}

    def test_come_from_an_output(self, flow):
        world = flow(a={}, b={"needs": ["a"], "for_each": "{{ outputs.a.files }}", "params": {"text": "{{ item }}"}})

        world.succeed("a", files=["p", "q", "r"])

        assert [world.row("b", n).job.params["text"] for n in range(3)] == ["p", "q", "r"]

    def test_none_at_all_skips_the_task(self, flow):
        world = flow(a={"for_each": []}, b={"needs": ["a"]})

        assert (world.row("a").reason, world.statuses()) == ("NoItems", {"a": "skipped", "b": "skipped"})

    @pytest.mark.parametrize(
        ("given", "message"),
        [
            ("outputs.a.n", "for_each gives no list."),
            ("outputs.a.many", "for_each gives 1001 items; at most 1000 are allowed."),
        ],
    )
    def test_what_is_no_list_of_a_thousand_fails_the_task(self, flow, given, message):
        world = flow(a={}, b={"needs": ["a"], "for_each": given})

        world.succeed("a", n=3, many=[0] * 1001)

        assert (world.row("b").status, world.row("b").message) == ("failed", message)

    def test_a_failed_one_fails_the_task_when_all_have_ended(self, flow):
        world = flow(a={"for_each": [1, 2, 3]}, b={"needs": ["a"]})

        world.fail("a", 1)
        assert world.row("a").status == "running"
        world.succeed("a", 0)
        world.succeed("a", 2)

        assert (world.row("a").status, world.row("a").message) == ("failed", "1 of 3 items failed.")
        assert world.row("b").status == "upstream_failed"


class TestRetries:
    def test_a_failed_try_is_followed_by_another_job(self, flow):
        world = flow(a={"retries": {"count": 1, "delay_seconds": 0}})
        first = world.row("a").job

        world.fail("a")

        row = world.row("a")
        assert (row.status, row.tries, row.failures) == ("submitted", 2, 1)
        assert row.job != first
        assert list(TaskTry.objects.values_list("number", "job")) == [(1, first.pk), (2, row.job_id)]
        world.fail("a")
        assert (world.row("a").status, world.status) == ("failed", "failed")

    def test_waits_until_it_is_due(self, flow, monkeypatch):
        monkeypatch.setattr("apps.pipelines.news.random.random", lambda: 1.0)
        world = flow(a={"retries": {"count": 1, "delay_seconds": 1000}})

        world.fail("a")
        world.advance()
        world.sweep()

        row = world.row("a")
        assert row.status == "ready"
        assert 990 < (row.due_at - fresh(world.run).updated_at).total_seconds() <= 1000
        assert Job.objects.count() == 1

    def test_out_of_memory_asks_for_twice_as_much(self, flow):
        world = flow(
            a={"retries": {"count": 3, "delay_seconds": 0}, "resources": {"memory": "100Mi~1Gi"}},
        )

        world.fail("a", reason=Reason.OUT_OF_MEMORY, exit_code=137)

        assert world.row("a").job.resources["memory"] == "200Mi~2048Mi"

    def test_a_fatal_exit_code_is_final(self, flow):
        world = flow(a={"retries": {"count": 3, "delay_seconds": 0, "fatal_exit_codes": [2]}})

        world.fail("a", exit_code=2)

        assert world.row("a").status == "failed"

    def test_a_lost_node_costs_no_retry(self, flow, monkeypatch):
        monkeypatch.setattr("apps.pipelines.news.random.random", lambda: 0.0)
        world = flow(a={})

        world.fail("a", reason=Reason.EVICTED, exit_code=None)

        row = world.row("a")
        assert (row.status, row.failures, row.free_failures) == ("submitted", 0, 1)


class TestWhatIsGone:
    def test_a_deleted_template_version_fails_the_task_with_its_name(self, flow, make_pipeline, template_version):
        world = flow(a={}, b={"needs": ["a"]})
        Job.objects.update(template_version=_another(template_version))
        template_version.delete()

        world.succeed("a")

        assert world.row("b").message == "template: echo@1 is gone."
        assert world.status == "failed"

    def test_a_disabled_cluster_fails_the_task_that_names_it(self, flow, cluster_row):
        world = flow(a={}, b={"needs": ["a"], "cluster": "default"})
        cluster_row.is_enabled = False
        cluster_row.save()

        world.succeed("a")

        assert (world.row("b").status, world.row("b").reason) == ("failed", "InvalidInput")

    def test_a_deleted_job_is_found_by_the_sweep(self, flow):
        world = flow(a={})
        Job.objects.all().delete()

        world.sweep()

        assert (world.row("a").reason, world.status) == ("JobDeleted", "failed")


def _another(version):
    from tests.factories import TemplateVersionFactory

    return TemplateVersionFactory(template=version.template, number=2)


class TestTogether:
    @pytest.fixture
    def queued(self, make_pipeline, cluster):
        pipelines = [make_pipeline(f"flow {n}") for n in range(12)]
        return services.start_runs([services.NewRun(pipeline=pipeline) for pipeline in pipelines])

    def test_many_runs_begin_in_few_messages(self, make_pipeline, cluster, django_capture_on_commit_callbacks):
        pipeline = make_pipeline(a={})

        with django_capture_on_commit_callbacks(execute=True):
            runs = services.start_runs([services.NewRun(pipeline=pipeline) for _ in range(30)])

        assert {fresh(run).status for run in runs} == {"running"}
        assert Job.objects.count() == 30

    def test_many_runs_cost_as_many_statements_as_one(self, make_pipeline, cluster, monkeypatch):
        monkeypatch.setattr("apps.pipelines.submitting.FRESH_SECONDS", 1e9)  # Clusters and templates are read once.
        submitting.places_now.cache_clear()
        pipeline = make_pipeline()
        runs = services.start_runs([services.NewRun(pipeline=pipeline) for _ in range(11)])

        def statements(chosen):
            with CaptureQueriesContext(connection) as seen:
                executor.advance_runs(run_ids=[run.pk for run in chosen])
            return len(seen)

        one, ten = statements(runs[:1]), statements(runs[1:])

        assert {fresh(run).status for run in runs} == {"running"}
        assert ten <= one
        submitting.places_now.cache_clear()

    def test_one_that_cannot_be_advanced_leaves_the_others_alone(self, queued, monkeypatch):
        begin = executor.beginning.begin

        def fail_for_one(look):
            if look.run.pk == queued[3].pk:
                raise RuntimeError("trouble")
            begin(look)

        monkeypatch.setattr("apps.pipelines.executor.beginning.begin", fail_for_one)

        executor.advance_runs(run_ids=[run.pk for run in queued])

        assert [fresh(run).status for run in queued] == ["running"] * 3 + ["queued"] + ["running"] * 8
        assert Job.objects.count() == 11

    def test_a_run_that_somebody_else_has_is_left_to_them(self, queued, monkeypatch):
        monkeypatch.setattr(executor, "locked_runs", lambda run_ids, *, wait: [])
        passes = []
        original = executor._pass
        monkeypatch.setattr(executor, "_pass", lambda run_ids: passes.append(1) or original(run_ids))

        assert executor.advance_run(run_id=queued[0].pk) is False
        assert executor.advance_runs(run_ids=[queued[0].pk]) == set()
        assert len(passes) == 2

    def test_what_was_woken_is_taken_once(self):
        assert [woken.add(1), woken.add(1), woken.add(2)] == [True, False, True]
        assert (woken.take(1), woken.take(5), woken.take(5)) == ([1], [2], [])
