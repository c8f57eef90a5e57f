"""The first pass over a run: its tasks become rows."""

from datetime import timedelta
from typing import Any

from django.utils.translation import gettext as _

from .choices import RunStatus, TaskStatus, Why
from .models import WHOLE, Run, TaskRun
from .passes import Pass

LOWEST, HIGHEST = -100, 100  # priorities


def begin(look: Pass) -> None:
    """Make a row per task and judge which may start; a rerun takes over what is not to run again."""
    run = look.run
    run.move_to(RunStatus.RUNNING)
    run.started_at = look.now
    if seconds := run.pipeline_version.timeout_seconds:
        run.deadline_at = look.now + timedelta(seconds=seconds)
    rows = [_row(run, look.plan.tasks[key].priority, key) for key in look.plan.order]
    if run.reuses and run.rerun_of_id:
        _take_over(look, rows)
    if run.only:
        _leave_out(look, rows)
    look.add(rows)
    look.keep(rows)
    if run.only:
        look.started = [row for row in rows if row.key == run.only]
    else:
        look.settle()
    look.tell(_("Began with %(count)d tasks.") % {"count": len(rows)})


def _row(run: Run, priority: int, key: str) -> TaskRun:
    return TaskRun(run=run, key=key, priority=max(LOWEST, min(HIGHEST, run.priority + priority)))


def _take_over(look: Pass, rows: list[TaskRun]) -> None:
    """What succeeded before, with its outputs; of a task with items only when all of them did."""
    kept = ("key", "outputs", "params", "started_at", "finished_at", "item_count")
    before: dict[str, dict[str, Any]] = {
        values.pop("key"): values
        for values in TaskRun.objects.filter(run=look.run.rerun_of_id, index=WHOLE, status=TaskStatus.SUCCEEDED).values(
            *kept
        )
    }
    for row in rows:
        if row.key in before and row.key != look.run.only:
            row.status, row.reason = TaskStatus.SUCCEEDED, Why.REUSED
            for name, value in before[row.key].items():
                setattr(row, name, value)


def _leave_out(look: Pass, rows: list[TaskRun]) -> None:
    for row in rows:
        if row.key != look.run.only and row.status == TaskStatus.WAITING:
            row.status, row.reason, row.finished_at = TaskStatus.SKIPPED, Why.OUT_OF_SCOPE, look.now
