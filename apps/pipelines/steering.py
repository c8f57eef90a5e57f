"""What people, and the sweep, do to runs: stop, rerun, clear, mark, ignore, judge again. Each waits for the run's lock,
changes rows, judges all tasks from scratch, and lets the run go on in the same transaction."""

from collections.abc import Iterable
from typing import Any

from django.db import transaction
from django.db.models import Count, Q
from django.utils.translation import gettext as _

from apps.accounts import audit
from apps.core.errors import InvalidInput, InvalidTransition
from apps.core.events import publish

from . import executor, opening, services
from .choices import (
    RUN_FINISHED,
    TASK_ACTIVE,
    TASK_UNFINISHED,
    Launch,
    RunStatus,
    TaskStatus,
    Why,
)
from .events import RunsQueued
from .models import WHOLE, Run, TaskRun
from .passes import Pass

MARKS = frozenset({TaskStatus.SUCCEEDED, TaskStatus.FAILED, TaskStatus.SKIPPED})
DERIVED = frozenset({Why.UPSTREAM, Why.CONDITION, Why.NO_ITEMS})  # why a task may be skipped by the graph's own rules


# -- whole runs -------------------------------------------------------------------------------------------------------
@transaction.atomic
def stop_run(*, run: Run, actor: Any) -> Run:
    """Nothing new starts, and jobs are asked to stop. Twice is fine. Raises InvalidTransition when it has ended."""
    look = _look(run.pk)
    run = look.run
    if run.status == RunStatus.STOPPING:
        return run
    if run.status in RUN_FINISHED:
        raise InvalidTransition(_("The run has already finished: %(status)s.") % {"status": run.get_status_display()})
    _audit(actor, "pipeline.stop", run)
    if run.status == RunStatus.QUEUED:
        run.move_to(RunStatus.STOPPED)
        run.reason, run.finished_at = Why.STOPPED, look.now
        look.tell(_("Stopped before it began."), actor=actor)
        look.save()
    else:
        _begin_stopping(look, Why.STOPPED, "", actor)
    return run


@transaction.atomic
def time_out(*, run_id: int) -> None:
    """Stop a run that is over its deadline; it will have failed."""
    look = _look(run_id)
    if look.run.status == RunStatus.RUNNING and look.run.deadline_at and look.run.deadline_at < look.now:
        seconds = {"seconds": look.run.pipeline_version.timeout_seconds}
        _begin_stopping(look, Why.TIMEOUT, _("It took longer than %(seconds)s s.") % seconds, None)


def _begin_stopping(look: Pass, reason: str, message: str, actor: Any) -> None:
    run = look.run
    run.move_to(RunStatus.STOPPING)
    run.reason, run.message = reason, message
    look.tell(message or _("Asked to stop."), reason=reason, actor=actor)
    look.save()
    publish(RunsQueued(run_ids=(run.pk,), project_ids=frozenset({run.project_id})))


def rerun_run(*, run: Run, reuse: bool = False, only: str = "", actor: Any) -> Run:
    """A new run of the same version and parameters; the old one stays as it is.

    `reuse` takes over what succeeded, with its outputs; `only` runs one task alone, and takes over what came before.
    Raises InvalidInput.
    """
    if only and only not in opening.plan_of(run.pipeline_version).tasks:
        raise InvalidInput({"task": _("There is no task '%(key)s'.") % {"key": only[:60]}})
    return services.start_new_run(
        services.NewRun(
            pipeline=run.pipeline,
            version=run.pipeline_version,
            params=run.params,
            trigger=Launch.RERUN,
            logical_at=run.logical_at,
            interval_start=run.interval_start,
            interval_end=run.interval_end,
            priority=run.priority,
            parallelism=run.parallelism,
            only=only,
            reuses=reuse or bool(only),
            rerun_of=run,
            actor=actor,
        )
    )


@transaction.atomic
def judge_again(*, run_id: int) -> None:
    """What the sweep does about a run nothing happens to: count and judge everything from its rows."""
    look = _look(run_id)
    run = look.run
    if run.status not in {RunStatus.RUNNING, RunStatus.STOPPING}:
        return
    run.checked_at = look.now
    look.load_all()
    _recount(look)
    if run.status == RunStatus.RUNNING:
        look.settle()
    _let_go_on(look)


# -- tasks of a run ---------------------------------------------------------------------------------------------------
@transaction.atomic
def clear_tasks(*, run: Run, keys: Iterable[str], downstream: bool = True, actor: Any) -> Run:
    """Let tasks, and with `downstream` all behind them, run again within this run; a finished run goes on.

    Raises InvalidInput for a key that is none, InvalidTransition while one of them is active.
    """
    look = _look_at_begun(run.pk)
    rows = _named(look, keys)
    chosen = {row.key for row in rows} | (look.plan.behind(*(row.key for row in rows)) if downstream else set())
    _refuse_active(look, chosen)
    TaskRun.objects.filter(run=look.run, key__in=chosen).exclude(index=WHOLE).delete()
    for key in chosen:
        look.reset(look.whole[key])
        look.whole[key].item_count, look.whole[key].items_left = None, 0
    _unsettle(look, chosen)
    names = ", ".join(sorted(row.key for row in rows))
    _audit(actor, "pipeline.clear", look.run, tasks=sorted(chosen)[:50])
    look.tell(_("Cleared %(tasks)s.") % {"tasks": names}, actor=actor)
    return _judge(look)


@transaction.atomic
def clear_items(*, run: Run, key: str, actor: Any) -> Run:
    """Let the items of a task that failed run again, and only those; all behind the task is judged again."""
    look = _look_at_begun(run.pk)
    (parent,) = _named(look, [key])
    failed = look.rows().filter(key=key, status__in=[TaskStatus.FAILED, TaskStatus.STOPPED]).exclude(index=WHOLE)
    items = list(failed)
    if not items:
        raise InvalidTransition(_("No item of %(task)s has failed.") % {"task": key})
    for item in items:
        look.reset(item)
        look.move(item, TaskStatus.READY)
    look.move(parent, TaskStatus.RUNNING)
    parent.finished_at, parent.is_ignored = None, False
    behind = look.plan.behind(key)
    _refuse_active(look, behind)
    _unsettle(look, {key})
    _audit(actor, "pipeline.clear", look.run, task=key, items=len(items))
    look.tell(_("Cleared %(count)d items.") % {"count": len(items)}, row=parent, actor=actor)
    return _judge(look)


@transaction.atomic
def mark_task(*, run: Run, key: str, status: str, index: int = WHOLE, actor: Any) -> Run:
    """Overrule how a task, or an item of one, ended or will end; its job is stopped. What follows is judged again.

    Raises InvalidInput, and InvalidTransition while something behind it is active.
    """
    if status not in MARKS:
        raise InvalidInput({"status": _("Mark a task as one of: %(marks)s.") % {"marks": ", ".join(sorted(MARKS))}})
    look = _look_at_begun(run.pk)
    row = _row(look, key, index)
    _refuse_active(look, look.plan.behind(key))
    _stop_jobs_of(look, row)
    before = row.status
    row.is_ignored = False
    look.move(row, status, reason=Why.MARKED)
    told = {"status": TaskStatus(status).label, "before": TaskStatus(before).label}
    return _overruled(look, row, "pipeline.mark", _("Marked as %(status)s; it was %(before)s.") % told, actor)


@transaction.atomic
def ignore_failure(*, run: Run, key: str, index: int = WHOLE, ignored: bool = True, actor: Any) -> Run:
    """Let a failure count as success, or, while nothing behind it has started, as a failure again.

    Raises InvalidTransition where there is nothing to ignore, or it is too late to undo.
    """
    look = _look_at_begun(run.pk)
    row = _row(look, key, index)
    if row.status != TaskStatus.FAILED or row.is_ignored == ignored:
        raise InvalidTransition(_("%(task)s has no failure to decide about.") % {"task": row})
    if not ignored and _started_behind(look, key):
        raise InvalidTransition(_("A task behind %(task)s has started; clear it first.") % {"task": row})
    look.ignore(row, ignored)
    text = _("Its failure is ignored.") if ignored else _("Its failure counts again.")
    return _overruled(look, row, "pipeline.ignore" if ignored else "pipeline.unignore", text, actor)


# -- the pieces -------------------------------------------------------------------------------------------------------
def _look(run_id: int) -> Pass:
    found = executor.locked_runs([run_id], wait=True)
    if not found:
        raise Run.DoesNotExist
    (run,) = found
    return Pass(run, opening.plan_of(run.pipeline_version))


def _look_at_begun(run_id: int) -> Pass:
    look = _look(run_id)
    if look.run.status in {RunStatus.QUEUED, RunStatus.STOPPING}:
        told = {"status": look.run.get_status_display()}
        raise InvalidTransition(_("The run is %(status)s; try again when it runs or has ended.") % told)
    look.load_all()
    return look


def _named(look: Pass, keys: Iterable[str]) -> list[TaskRun]:
    wanted = list(dict.fromkeys(keys))
    if unknown := [key for key in wanted if key not in look.whole]:
        raise InvalidInput({"tasks": _("There is no task '%(key)s'.") % {"key": unknown[0][:60]}})
    if not wanted:
        raise InvalidInput({"tasks": _("Name at least one task.")})
    return [look.whole[key] for key in wanted]


def _row(look: Pass, key: str, index: int) -> TaskRun:
    if index == WHOLE:
        return _named(look, [key])[0]
    item = look.rows().filter(key=key, index=index).first()
    if item is None:
        raise InvalidInput({"index": _("%(task)s has no item %(index)d.") % {"task": key[:60], "index": index}})
    return item


def _refuse_active(look: Pass, keys: set[str]) -> None:
    active = look.rows().filter(key__in=keys, status__in=TASK_ACTIVE).first()
    if active is not None:
        raise InvalidTransition(_("%(task)s is active. Wait for it, or stop the run first.") % {"task": active})


def _started_behind(look: Pass, key: str) -> bool:
    return any(look.whole[other].tries or look.whole[other].item_count for other in look.plan.behind(key))


def _stop_jobs_of(look: Pass, row: TaskRun) -> None:
    """Of the task itself, and of its items, which end with it."""
    mine = look.rows().filter(key=row.key) if not row.is_item else look.rows().filter(pk=row.pk)
    for active in mine.filter(status__in=TASK_ACTIVE, item_count=None).select_related("job"):
        executor.stop_job(look, active)
    if not row.is_item:
        for item in look.rows().filter(key=row.key, status__in=TASK_UNFINISHED).exclude(index=WHOLE):
            look.move(item, TaskStatus.STOPPED, reason=Why.MARKED)


def _overruled(look: Pass, row: TaskRun, action: str, text: str, actor: Any) -> Run:
    """What follows where the outcome of one task is another now."""
    if row.is_item:
        parent = look.whole[row.key]
        look.move(parent, TaskStatus.RUNNING)  # Concluded anew, from its items.
        parent.finished_at = None
    _unsettle(look, {row.key})
    _audit(actor, action, look.run, task=str(row), status=row.status)
    look.tell(text, row=row, reason=Why.MARKED, actor=actor)
    return _judge(look)


def _unsettle(look: Pass, keys: set[str]) -> None:
    """Let the graph decide again about tasks behind these that were never tried."""
    for key in look.plan.behind(*keys) - keys:
        row = look.whole[key]
        by_rule = row.status in {TaskStatus.UPSTREAM_FAILED, TaskStatus.READY} or (
            row.status == TaskStatus.SKIPPED and row.reason in DERIVED
        )
        if by_rule and not row.tries and row.item_count is None:
            look.reset(row)


def _judge(look: Pass) -> Run:
    """Judge all tasks from scratch and let the run go on, reopened where it had finished."""
    run = look.run
    if run.status in RUN_FINISHED:
        run.move_to(RunStatus.RUNNING)
        run.attempt += 1
        run.reason, run.message, run.finished_at = "", "", None
    look.flush()
    _recount(look)
    look.settle()
    _let_go_on(look)
    return run


def _let_go_on(look: Pass) -> None:
    if look.run.status == RunStatus.STOPPING:
        executor.stop_tasks(look)
    else:
        executor.go_on([look])
    executor.finish_if_done(look)
    look.save()
    if look.told and look.run.status not in RUN_FINISHED:
        publish(RunsQueued(run_ids=(look.run.pk,), project_ids=frozenset({look.run.project_id})))


def _recount(look: Pass) -> None:
    """The run's counters, and those of tasks over their items, from the rows themselves."""
    rows = TaskRun.objects.filter(run=look.run)
    whole, failed = Q(index=WHOLE), Q(index=WHOLE, status=TaskStatus.FAILED)
    counted = rows.aggregate(
        unfinished_tasks=Count("pk", filter=whole & Q(status__in=TASK_UNFINISHED)),
        active_tasks=Count("pk", filter=Q(status__in=TASK_ACTIVE, item_count=None)),
        ready_tasks=Count("pk", filter=Q(status=TaskStatus.READY)),
        failed_tasks=Count("pk", filter=failed & Q(is_ignored=False)),
        ignored_tasks=Count("pk", filter=failed & Q(is_ignored=True)),
        task_rows=Count("pk"),
    )
    for name, count in counted.items():
        setattr(look.run, name, count)
    bad = Q(status__in=[TaskStatus.FAILED, TaskStatus.STOPPED], is_ignored=False)
    by_task = (
        rows.exclude(index=WHOLE)
        .values("key")
        .annotate(left=Count("pk", filter=Q(status__in=TASK_UNFINISHED)), bad=Count("pk", filter=bad))
    )
    for counts in by_task.order_by("key"):
        row = look.whole[counts["key"]]
        if (row.items_left, row.items_failed) != (counts["left"], counts["bad"]):
            row.items_left, row.items_failed = counts["left"], counts["bad"]
            look.touch(row)


def _audit(actor: Any, action: str, run: Run, **detail: Any) -> None:
    audit.record(
        actor=actor,
        action=action,
        target=f"{run.pipeline.name}#{run.pk}",
        project=run.project.slug,
        detail={"run": str(run.uid), **detail},
    )
