"""Killed anywhere, told twice or never: what follows is the same run.

A kill is an exception no code of ours catches, raised at one statement after another: what was not committed is gone,
and every message that would have followed is lost. The sweep is what remains.
"""

import itertools

import pytest
from django.db import connection

from apps.jobs.models import Job
from apps.pipelines import services, sweep, tasks
from apps.pipelines.choices import TASK_ACTIVE, RunStatus
from apps.pipelines.models import Run, TaskRun, TaskTry

from .conftest import Flow

GRAPH = {
    "tasks": {
        "a": {"template": "echo", "retries": {"count": 1, "delay_seconds": 0}},
        "b": {"template": "echo", "needs": ["a"], "for_each": [1]},
        "c": {"template": "echo", "needs": ["b"], "when": "false"},
    }
}
ENDS = {"a": "succeeded", "b": "succeeded", "b[0]": "succeeded", "c": "skipped"}
TRIES = [("a", -1, 1), ("a", -1, 2), ("b", 0, 1)]


class Killed(BaseException):
    """Nothing catches it, as nothing catches SIGKILL."""


class Killer:
    """Kills at the `at`-th writing statement from now on, once."""

    def __init__(self, at):
        self.left, self.struck = at, False

    def __call__(self, execute, sql, params, many, context):
        is_ours = sql.startswith('INSERT INTO "jobs_') or '"pipelines_' in sql  # Jobs have such tests of their own.
        if is_ours and sql.startswith(("INSERT", "UPDATE", "DELETE")) and not self.struck:
            self.left -= 1
            if self.left < 0:
                self.struck = True
                raise Killed
        return execute(sql, params, many, context)


def settle_jobs(world):
    """The cluster: the first job of a run fails, every other one succeeds. What is announced is delivered."""
    for row in TaskRun.objects.filter(run=world.run, status__in=TASK_ACTIVE, job__finished_at=None, job__isnull=False):
        if row.key == "a" and row.tries == 1:
            world.fail(row.key, row.index)
        else:
            world.succeed(row.key, row.index)


def forget_messages(monkeypatch):
    """Rows look old enough for the sweep to think of them."""
    monkeypatch.setattr(sweep, "PATIENCE", sweep.PATIENCE * 0)
    monkeypatch.setattr(sweep, "STALE", sweep.STALE * 0)


def live(world, killer):
    """Drive a run to its end, with the killer about for the first rounds."""
    for _round in range(12):
        for step in (world.sweep, lambda: settle_jobs(world)):
            try:
                with connection.execute_wrapper(killer):
                    step()
            except Killed:
                continue
        if world.status == RunStatus.SUCCEEDED:
            return
    raise AssertionError(world.statuses())


@pytest.fixture
def start(make_pipeline, cluster, member, django_capture_on_commit_callbacks, monkeypatch):
    forget_messages(monkeypatch)
    monkeypatch.setattr("apps.jobs.tasks.launch_job.delay", lambda **_: None)  # Jobs end without having been launched.
    pipeline = make_pipeline(graph=GRAPH)

    def begin():
        return Flow(services.start_run(pipeline=pipeline), django_capture_on_commit_callbacks, member)

    return begin


def test_killed_at_every_statement_in_turn_each_try_is_one_job_and_all_ends(start):
    for at in itertools.count():
        world, killer = start(), Killer(at)
        live(world, killer)

        run = Run.objects.get(pk=world.run.pk)
        assert world.statuses() == ENDS
        assert (run.unfinished_tasks, run.active_tasks, run.failed_tasks, run.task_rows) == (0, 0, 0, 4)
        tries = TaskTry.objects.filter(task__run=run)
        assert sorted(tries.values_list("task__key", "task__index", "number")) == TRIES
        assert Job.objects.filter(task_try__task__run=run).count() == len(TRIES)
        if not killer.struck:
            break
    assert at > 20  # It did strike, in every part of the run's life.
    assert Job.objects.count() == len(TRIES) * (at + 1)


def test_without_any_message_the_sweep_alone_brings_a_run_to_its_end(start, monkeypatch):
    world = start()
    monkeypatch.setattr(tasks, "wake_run", lambda run_id: None)
    monkeypatch.setattr(tasks.advance_runs, "delay", lambda **_: None)

    live(world, Killer(10**9))

    assert world.statuses() == ENDS


def test_every_message_twice_changes_nothing(start, monkeypatch):
    world, once = start(), tasks.advance_runs.run

    def twice(**arguments):
        once(**arguments)
        once(**arguments)

    monkeypatch.setattr(tasks.advance_runs, "run", twice)
    live(world, Killer(10**9))

    assert world.statuses() == ENDS
    assert Job.objects.count() == len(TRIES)


def test_counters_that_went_wrong_are_counted_again(start):
    world = start()
    world.sweep()
    Run.objects.filter(pk=world.run.pk).update(active_tasks=7, unfinished_tasks=9, failed_tasks=3)
    TaskRun.objects.filter(run=world.run, key="c").update(needs_succeeded=5, needs_total=9)

    live(world, Killer(10**9))

    assert world.statuses() == ENDS
