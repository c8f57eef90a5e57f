"""What people do to a run: stop, rerun, clear, mark, ignore. Each is audited; a refusal changes nothing."""

from datetime import timedelta

import pytest
from django.utils import timezone

from apps.accounts.models import AuditEntry
from apps.core.errors import InvalidInput, InvalidTransition
from apps.jobs.choices import JobStatus
from apps.jobs.models import Job
from apps.pipelines import services, steering
from apps.pipelines.choices import RunStatus
from apps.pipelines.models import Run, TaskRun

from .conftest import fresh, graph_of

CHAIN = {"a": {}, "b": {"needs": ["a"]}, "c": {"needs": ["b"]}}


def actions():
    entries = AuditEntry.objects.filter(action__startswith="pipeline.").order_by("id")
    return list(entries.values_list("action", flat=True))


class TestStop:
    def test_a_run_that_has_not_begun_ends_at_once(self, make_pipeline, member):
        run = services.start_run(pipeline=make_pipeline(), actor=member)

        steering.stop_run(run=run, actor=member)

        assert (fresh(run).status, fresh(run).reason) == ("stopped", "Stopped")
        assert actions()[-1] == "pipeline.stop"

    def test_jobs_are_stopped_and_nothing_new_starts(self, flow):
        world = flow(a={}, b={"needs": ["a"]}, c={"for_each": [1, 2]})

        world.ask("stop_run")

        assert world.status == RunStatus.STOPPING
        assert set(Job.objects.values_list("status", flat=True)) == {JobStatus.STOPPING}
        for key, index in (("a", -1), ("c", 0), ("c", 1)):
            world.fail(key, index)
        assert world.status == "stopped"
        assert set(world.statuses().values()) == {"stopped"}

    def test_a_success_on_the_way_stays_one(self, flow):
        world = flow(**CHAIN)
        world.ask("stop_run")

        world.succeed("a")

        assert (world.status, world.statuses()) == ("stopped", {"a": "succeeded", "b": "stopped", "c": "stopped"})

    def test_refuses_a_finished_run(self, flow):
        world = flow(a={})
        world.succeed("a")

        with pytest.raises(InvalidTransition):
            world.ask("stop_run")

        assert world.status == "succeeded"

    def test_a_run_over_its_time_is_stopped_and_fails(self, flow):
        world = flow({**graph_of(a={}), "timeout_seconds": 60})
        Run.objects.update(deadline_at=timezone.now() - timedelta(seconds=1))

        world.sweep()
        assert world.status == "stopping"
        world.fail("a")

        assert (world.status, world.reason) == ("failed", "TimedOut")


class TestRerun:
    def test_from_what_failed_takes_over_what_succeeded(self, flow, django_capture_on_commit_callbacks):
        world = flow(a={}, b={"needs": ["a"], "params": {"text": "{{ outputs.a.word }}"}})
        world.succeed("a", word="hi")
        world.fail("b")

        again = world.ask("rerun_run", reuse=True)

        rows = {row.key: row for row in again.tasks.all()}
        assert (rows["a"].status, rows["a"].reason, rows["a"].outputs) == ("succeeded", "Reused", {"word": "hi"})
        assert (rows["b"].status, rows["b"].params) == ("submitted", {"text": "hi"})
        assert (again.rerun_of, again.trigger, world.status) == (world.run, "rerun", "failed")

    def test_of_everything_takes_over_nothing(self, flow):
        world = flow(**CHAIN)
        world.succeed("a")

        again = world.ask("rerun_run")

        assert {row.key: row.status for row in again.tasks.all()} == {"a": "submitted", "b": "waiting", "c": "waiting"}

    def test_of_one_task_alone(self, flow):
        world = flow(**CHAIN)
        world.succeed("a")
        world.succeed("b")
        world.succeed("c")

        again = world.ask("rerun_run", only="b")

        found = {row.key: (row.status, row.reason) for row in again.tasks.all()}
        assert found == {"a": ("succeeded", "Reused"), "b": ("submitted", ""), "c": ("succeeded", "Reused")}

    def test_refuses_a_task_that_is_none(self, flow):
        world = flow(a={})

        with pytest.raises(InvalidInput) as refusal:
            world.ask("rerun_run", only="z")

        assert list(refusal.value.fields) == ["task"]
        assert Run.objects.count() == 1


class TestClear:
    def test_runs_a_task_and_all_behind_it_again(self, flow):
        world = flow(**CHAIN)
        for key in "abc":
            world.succeed(key)
        assert world.status == "succeeded"

        world.ask("clear_tasks", keys=["b"])

        assert (world.status, world.statuses()) == ("running", {"a": "succeeded", "b": "submitted", "c": "waiting"})
        assert (fresh(world.run).attempt, world.row("b").tries) == (2, 2)
        world.succeed("b")
        world.succeed("c")
        assert world.status == "succeeded"
        assert actions()[-1] == "pipeline.clear"

    def test_of_a_task_alone_leaves_the_rest(self, flow):
        world = flow(**CHAIN)
        for key in "abc":
            world.succeed(key)

        world.ask("clear_tasks", keys=["b"], downstream=False)

        assert world.statuses() == {"a": "succeeded", "b": "submitted", "c": "succeeded"}

    def test_what_a_failure_had_ended_runs_after_all(self, flow):
        world = flow(**CHAIN)
        world.fail("a")
        assert world.status == "failed"

        world.ask("clear_tasks", keys=["a"], downstream=False)

        assert world.statuses() == {"a": "submitted", "b": "waiting", "c": "waiting"}

    def test_makes_items_anew(self, flow):
        world = flow(a={"for_each": [1, 2]})
        world.succeed("a", 0)
        world.fail("a", 1)

        world.ask("clear_tasks", keys=["a"])

        assert world.statuses() == {"a": "running", "a[0]": "submitted", "a[1]": "submitted"}
        assert Job.objects.count() == 4

    def test_of_failed_items_keeps_the_others(self, flow):
        world = flow(a={"for_each": [1, 2]}, b={"needs": ["a"]})
        world.succeed("a", 0, score=1)
        world.fail("a", 1)
        assert world.status == "failed"

        world.ask("clear_items", key="a")
        assert world.statuses() == {"a": "running", "b": "waiting", "a[0]": "succeeded", "a[1]": "submitted"}
        world.succeed("a", 1, score=2)

        assert (world.row("a").outputs, world.row("b").status) == ({"score": [1, 2]}, "submitted")

    def test_refuses_while_a_task_behind_is_active(self, flow):
        world = flow(**CHAIN)
        world.succeed("a")

        with pytest.raises(InvalidTransition):
            world.ask("clear_tasks", keys=["a"])

        assert world.statuses() == {"a": "succeeded", "b": "submitted", "c": "waiting"}

    @pytest.mark.parametrize("keys", [[], ["z"]])
    def test_refuses_what_is_no_task(self, flow, keys):
        world = flow(a={})

        with pytest.raises(InvalidInput):
            world.ask("clear_tasks", keys=keys)


class TestMark:
    def test_as_succeeded_lets_the_rest_go_on(self, flow):
        world = flow(**CHAIN)
        world.fail("a")

        world.ask("mark_task", key="a", status="succeeded")

        assert (world.status, world.statuses()) == ("running", {"a": "succeeded", "b": "submitted", "c": "waiting"})
        assert actions()[-1] == "pipeline.mark"

    def test_as_failed_stops_its_job(self, flow):
        world = flow(**CHAIN)

        world.ask("mark_task", key="a", status="failed")

        assert world.statuses() == {"a": "failed", "b": "upstream_failed", "c": "upstream_failed"}
        assert (world.row("a").job.status, world.status) == (JobStatus.STOPPING, "failed")

    def test_as_skipped_skips_on(self, flow):
        world = flow(a={}, b={"needs": ["a"]}, c={"needs": ["b"], "trigger": "all_done"})

        world.ask("mark_task", key="a", status="skipped")

        assert world.statuses() == {"a": "skipped", "b": "skipped", "c": "submitted"}

    def test_of_an_item_lets_its_task_end_anew(self, flow):
        world = flow(a={"for_each": [1, 2]}, b={"needs": ["a"]})
        world.succeed("a", 0)
        world.fail("a", 1)

        world.ask("mark_task", key="a", index=1, status="succeeded")

        assert world.statuses() == {"a": "succeeded", "b": "submitted", "a[0]": "succeeded", "a[1]": "succeeded"}

    def test_refuses_other_marks(self, flow):
        world = flow(a={})

        with pytest.raises(InvalidInput):
            world.ask("mark_task", key="a", status="running")

        assert world.statuses() == {"a": "submitted"}


class TestIgnore:
    def test_lets_what_waited_go_on_and_the_run_succeed(self, flow):
        world = flow(**CHAIN)
        world.fail("a")

        world.ask("ignore_failure", key="a")
        assert world.statuses() == {"a": "failed", "b": "submitted", "c": "waiting"}
        world.succeed("b")
        world.succeed("c")

        assert (world.status, world.reason) == ("succeeded", "FailuresIgnored")
        assert "pipeline.ignore" in actions()

    def test_is_undone_while_nothing_behind_has_started(self, flow):
        world = flow(a={}, b={"needs": ["a", "d"]}, d={})
        world.fail("a")
        world.ask("ignore_failure", key="a")
        assert world.row("b").status == "waiting"

        world.ask("ignore_failure", key="a", ignored=False)

        assert world.row("b").status == "upstream_failed"

    def test_is_too_late_to_undo_afterwards(self, flow):
        world = flow(**CHAIN)
        world.fail("a")
        world.ask("ignore_failure", key="a")

        with pytest.raises(InvalidTransition):
            world.ask("ignore_failure", key="a", ignored=False)

        assert world.row("a").is_ignored

    def test_refuses_where_nothing_failed(self, flow):
        world = flow(a={})

        with pytest.raises(InvalidTransition):
            world.ask("ignore_failure", key="a")

        assert not TaskRun.objects.filter(is_ignored=True).exists()
