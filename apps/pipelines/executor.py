"""What makes runs go on: passes over one run under its row lock, as many as there is something to do.

Events only say "look": what is done is decided from rows, in one transaction, so that it may be asked for twice, by
several workers, or after a kill at any line. A run that somebody looks at already is left to them: after their commit
they look whether anything has moved on meanwhile, and what a message tells of was committed before it was sent.
"""

from collections.abc import Collection, Sequence

import structlog
from django.db import transaction
from django.db.models import Prefetch
from django.utils.translation import ngettext

from apps.core.errors import DomainError
from apps.jobs import services as jobs
from apps.jobs.choices import FINISHED as JOB_FINISHED
from apps.jobs.choices import JobStatus

from . import beginning, news, opening, submitting
from .choices import RUN_FINISHED, TASK_ACTIVE, TASK_WAITING, RunStatus, TaskStatus, Why
from .models import WHOLE, Pipeline, Run, TaskRun, Version
from .passes import Pass, save_all

MOST_PASSES = 40  # a task of the queue; another one goes on then
STOPPED_AT_ONCE = 50
FEW = 10  # runs, whose rows are joined to what they refer to; more share most of it, and read it once
SHARED = (
    "project",
    "started_by",
    Prefetch("pipeline", Pipeline.objects.defer("description")),
    Prefetch("pipeline_version", Version.objects.defer("graph", "schema")),
)
logger = structlog.get_logger(__name__)


def advance_run(*, run_id: int) -> bool:
    """Do whatever can be done for a run now. Returns whether something is left for another call."""
    for _nth in range(MOST_PASSES):
        held, more = _pass([run_id])
        if not more and not _lagging(held):
            return False
    return True


def advance_runs(*, run_ids: Collection[int]) -> set[int]:
    """One pass over several runs together, for most of what a pass costs is its statements. Returns those that want
    another. Where it fails, each is looked at alone: one run's trouble stays its own."""
    try:
        held, more = _pass(run_ids)
    except Exception:
        logger.exception("runs could not be advanced together", run_ids=list(run_ids))
        return {run_id for run_id in run_ids if _advance_alone(run_id)}
    return more | _lagging(held)


def _lagging(run_ids: Collection[int]) -> set[int]:
    """Of the runs that were looked at, those in which something has moved on meanwhile. Of one that somebody else had,
    they ask this themselves."""
    if not run_ids:
        return set()
    rows = TaskRun.objects.filter(run__in=run_ids).lagging().order_by("run_id")
    return set(rows.values_list("run_id", flat=True).distinct())


def _advance_alone(run_id: int) -> bool:
    try:
        return advance_run(run_id=run_id)
    except Exception:
        logger.exception("a run could not be advanced", run_id=run_id)
        return False  # The sweep tries again.


def locked_runs(run_ids: Collection[int], *, wait: bool) -> list[Run]:
    """The runs under their locks; without those that are gone and, where `wait` is False, that somebody else has."""
    rows = Run.objects.select_for_update(of=("self",), skip_locked=not wait).filter(pk__in=run_ids).order_by("pk")
    if len(run_ids) > FEW:
        return list(rows.prefetch_related(*SHARED))
    related = ("project", "pipeline", "pipeline_version", "started_by")
    large = ("pipeline_version__graph", "pipeline_version__schema", "pipeline__description", "started_by__password")
    return list(rows.select_related(*related).defer(*large))


@transaction.atomic
def _pass(run_ids: Collection[int]) -> tuple[set[int], set[int]]:
    """One transaction. Returns the unfinished runs that were looked at, and those of them where another pass may find
    more."""
    runs = [run for run in locked_runs(run_ids, wait=False) if run.status not in RUN_FINISHED]
    looks = [Pass(run, opening.plan_of(run.pipeline_version)) for run in runs]
    begun = [look for look in looks if look.run.status != RunStatus.QUEUED]
    for look in looks:
        if look.run.status == RunStatus.QUEUED:
            beginning.begin(look)
    more = news.take_in(begun)
    more |= go_on([look for look in looks if look.run.status == RunStatus.RUNNING])
    more |= {look.run.pk for look in looks if look.run.status == RunStatus.STOPPING and stop_tasks(look)}
    for look in looks:
        finish_if_done(look)
    save_all(looks)
    held = {run.pk for run in runs if run.status not in RUN_FINISHED}
    return held, more & held


def go_on(looks: Sequence[Pass]) -> set[int]:
    """Everything that follows from what ended: conclusions, starts, jobs. Returns runs that could submit more."""
    more: set[int] = set()
    waiting = list(looks)
    while waiting:
        for look in waiting:
            news.conclude(look)
            look.propagate()
            opening.open_started(look)
        more |= submitting.submit_ready(waiting)
        waiting = [look for look in waiting if look.ended or look.started or _concludable(look)]
    return more


def _concludable(look: Pass) -> bool:
    return any(r.item_count and not r.items_left and r.status == TaskStatus.RUNNING for r in look.whole.values())


def stop_tasks(look: Pass) -> bool:
    """Nothing new starts; jobs are asked to stop, some a pass. Returns whether more are to be asked."""
    look.flush()
    for row in look.rows().filter(status__in=TASK_WAITING):
        if not row.is_item:
            look.keep([row])
        look.move(row, TaskStatus.STOPPED, reason=Why.STOPPED)
        if row.is_item:
            look.load([row.key])
            news.count_item(look, row)
    active = look.rows().filter(status__in=TASK_ACTIVE, item_count=None, job__isnull=False).select_related("job")
    left = active.exclude(job__status__in=[JobStatus.STOPPING, *JOB_FINISHED])
    asked = [stop_job(look, row) for row in left[:STOPPED_AT_ONCE]]
    look.flush()
    _end_tasks_without_items(look)
    look.ended = []
    return len(asked) == STOPPED_AT_ONCE


def _end_tasks_without_items(look: Pass) -> None:
    look.keep(look.rows().filter(status=TaskStatus.RUNNING, item_count__isnull=False, items_left=0))
    news.conclude(look)


def stop_job(look: Pass, row: TaskRun) -> bool:
    """Ask the job of a task to stop; one that has ended meanwhile tells so itself."""
    if row.job is None:
        return False
    try:
        jobs.stop_job(job=row.job, actor=None)
    except DomainError:
        return False
    return True


def finish_if_done(look: Pass) -> None:
    run = look.run
    if run.status in RUN_FINISHED or run.unfinished_tasks or run.active_tasks:
        return
    if run.attempt > 1 and run.status == RunStatus.RUNNING and _has_stopped_tasks(run):
        _finish(look, RunStatus.STOPPED, Why.STOPPED, "")  # It was stopped, and what was cleared of it has ended.
    elif run.status == RunStatus.STOPPING:
        _finish(look, RunStatus.FAILED if run.reason == Why.TIMEOUT else RunStatus.STOPPED, run.reason, run.message)
    elif run.failed_tasks:
        words = ngettext("%(count)d task failed.", "%(count)d tasks failed.", run.failed_tasks)
        _finish(look, RunStatus.FAILED, Why.TASKS, words % {"count": run.failed_tasks})
    else:
        _finish(look, RunStatus.SUCCEEDED, Why.IGNORED if run.ignored_tasks else "", "")


def _has_stopped_tasks(run: Run) -> bool:
    return TaskRun.objects.filter(run=run, index=WHOLE, status=TaskStatus.STOPPED).exists()


def _finish(look: Pass, status: RunStatus, reason: str, message: str) -> None:
    run = look.run
    run.move_to(status)
    run.reason, run.message, run.finished_at, run.deadline_at = reason, message, look.now, None
    look.tell(str(status.label) + ".", reason=reason)
