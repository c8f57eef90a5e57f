"""A task whose needs are met: is it switched off, does its condition hold, has it items?"""

from collections.abc import Collection, Iterable
from functools import lru_cache
from typing import Any

from django.utils.translation import gettext as _

from .choices import TaskStatus, Why
from .expressions import ExpressionError, Values, evaluate, read_condition, resolve
from .expressions.filters import plain
from .graph.limits import MAX_ITEMS, MAX_TASK_ROWS
from .graph.plan import Plan, Task
from .models import WHOLE, Run, TaskRun, Version
from .passes import Pass


def plan_of(version: Version) -> Plan:
    """Of a version, which never changes; kept, since a large graph costs more to read than an event does."""
    return _plan(version.pk, version.digest)


@lru_cache(maxsize=32)
def _plan(version_id: int, digest: str) -> Plan:
    return Plan(Version.objects.values_list("graph", flat=True).get(pk=version_id))


def open_started(look: Pass) -> None:
    """Open every task whose needs have been met in this pass, and whatever that leads to."""
    while look.started:
        rows, look.started = look.started, []
        outputs = outputs_for(look, (look.plan.tasks[row.key] for row in rows if _asks(look.plan.tasks[row.key])))
        for row in rows:
            _open(look, row, look.plan.tasks[row.key], outputs)
        look.propagate()


def _asks(task: Task) -> bool:
    return bool(task.condition or task.for_each)


def _open(look: Pass, row: TaskRun, task: Task, outputs: dict[str, Any]) -> None:
    if task.is_switched_off:
        row.is_ignored = True  # counts as succeeded for what needs it
        look.move(row, TaskStatus.SKIPPED, reason=Why.SWITCHED_OFF)
        return
    values = Values(params=look.run.params, outputs=outputs, run=run_values(look.run))
    try:
        if task.condition.strip() and not evaluate(read_condition(task.condition), values):
            look.move(row, TaskStatus.SKIPPED, reason=Why.CONDITION)
        elif task.for_each is None:
            look.move(row, TaskStatus.READY)
        else:
            _make_items(look, row, _items(task.for_each, values))
    except ExpressionError as refusal:
        fail(look, row, Why.EXPRESSION, str(refusal))


def fail(look: Pass, row: TaskRun, reason: str, message: str) -> None:
    """A task that cannot be tried, or not again."""
    look.move(row, TaskStatus.FAILED, reason=reason, message=message)
    look.tell(_("Failed: %(why)s") % {"why": message or reason}, row=row, reason=reason)


def _items(for_each: Any, values: Values) -> list[Any]:
    found = evaluate(read_condition(for_each), values) if isinstance(for_each, str) else resolve(for_each, values)
    if not isinstance(found, list):
        raise ExpressionError(_("for_each gives no list."))
    if len(found) > MAX_ITEMS:
        told = {"count": len(found), "most": MAX_ITEMS}
        raise ExpressionError(_("for_each gives %(count)d items; at most %(most)d are allowed.") % told)
    return [plain(item) for item in found]


def _make_items(look: Pass, row: TaskRun, items: list[Any]) -> None:
    if not items:
        look.move(row, TaskStatus.SKIPPED, reason=Why.NO_ITEMS)
        return
    if look.run.task_rows + len(items) > MAX_TASK_ROWS:
        fail(look, row, Why.TOO_MANY, _("A run has at most %(count)d tasks, items counted.") % {"count": MAX_TASK_ROWS})
        return
    row.item_count = row.items_left = len(items)
    row.items_failed = 0
    row.started_at = look.now
    look.move(row, TaskStatus.RUNNING)
    look.add([item_row(look, row, index, item) for index, item in enumerate(items)])


def item_row(look: Pass, parent: TaskRun, index: int, item: Any) -> TaskRun:
    return TaskRun(
        run=look.run,
        key=parent.key,
        index=index,
        item=item,
        status=TaskStatus.READY,
        priority=parent.priority,
        ready_at=look.now,
    )


def run_values(run: Run) -> dict[str, Any]:
    """What expressions see as `run`."""
    return {
        "logical_at": run.logical_at,
        "interval_start": run.interval_start,
        "interval_end": run.interval_end,
        "uid": str(run.uid),
        "trigger": run.trigger,
        "attempt": run.attempt,
        "pipeline": run.pipeline.name,
        "version": run.pipeline_version.number,
    }


def outputs_for(look: Pass, tasks: Iterable[Task]) -> dict[str, Any]:
    """The outputs that these tasks read; None of a task that has not succeeded. One query."""
    keys: Collection[str] = {key for task in tasks for key in task.reads}
    found: dict[str, Any] = dict.fromkeys(keys)
    if keys:
        ended = TaskRun.objects.filter(run=look.run, index=WHOLE, key__in=keys, status=TaskStatus.SUCCEEDED)
        found |= {key: outputs or {} for key, outputs in ended.values_list("key", "outputs")}
    for key in keys & look.whole.keys():  # What has changed in this pass is not in the database yet.
        row = look.whole[key]
        is_unsaved = row.pk is None or row.pk in look.changed
        if is_unsaved and row.status != TaskStatus.SUCCEEDED:
            found[key] = None
        elif is_unsaved and "outputs" in row.__dict__:
            found[key] = row.outputs or {}
    return found
