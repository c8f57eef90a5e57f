"""Events are for speed, the sweep is for truth: whatever message was lost, each state here leads on.

| a run is | and is found by |
| --- | --- |
| queued, its message lost | its status and age |
| with an active task whose job moved on | comparing the two, over active rows only |
| with a ready task and room for it, or a retry that is due | the ready rows' index |
| over its deadline | the deadline's index |
| stopping | its status |
| unfinished, with nothing of all that | its age: its tasks are judged from scratch |
"""

from collections.abc import Callable, Iterable
from datetime import timedelta

import structlog
from django.db.models import Exists, F, OuterRef, Q
from django.utils import timezone

from . import steering
from .choices import RUN_UNFINISHED, RunStatus, TaskStatus
from .models import Run, TaskRun

LATE = timedelta(seconds=2)  # before a message is looked for that ought to have been taken
PATIENCE = timedelta(seconds=15)  # before a message counts as lost
STALE = timedelta(minutes=5)  # before an unfinished run is judged from scratch
BATCH = 500
JUDGED = 100  # a round, from scratch
logger = structlog.get_logger(__name__)


def find_forgotten() -> list[int]:
    """Ids of runs that have to be looked at; each round names at most `BATCH` per reason."""
    _each(_overdue(), steering.time_out)
    found = {*_never_begun(), *_lagging(), *_with_room(), *_stopping()}
    _each([run_id for run_id in _stale() if run_id not in found], steering.judge_again)
    return sorted(found)


def find_lost(*, limit: int) -> list[int]:
    """Ids of runs whose message seems lost though it is seconds old. Each is named once per `PATIENCE`, so that a run
    which cannot be advanced does not stand in the way of others."""
    now = timezone.now()
    fresh = Q(checked_at=None) | Q(checked_at__lt=now - PATIENCE)
    unbegun = Run.objects.filter(fresh, status=RunStatus.QUEUED, updated_at__lt=now - LATE)
    ids = list(unbegun.order_by("pk").values_list("pk", flat=True)[:limit])
    moved = TaskRun.objects.lagging().filter(job__updated_at__lt=now - LATE)
    behind = Run.objects.filter(fresh, status__in=RUN_UNFINISHED, pk__in=moved.values("run_id"))
    ids += behind.order_by("pk").values_list("pk", flat=True)[: limit - len(ids)]
    if ids:
        Run.objects.filter(pk__in=ids).update(checked_at=now)
    return ids


def _each(run_ids: Iterable[int], verb: Callable[..., None]) -> None:
    """One run's trouble stays its own."""
    for run_id in run_ids:
        try:
            verb(run_id=run_id)
        except Exception:
            logger.exception("a run could not be swept", run_id=run_id, verb=verb.__name__)


def _overdue() -> list[int]:
    late = Run.objects.filter(status=RunStatus.RUNNING, deadline_at__lt=timezone.now())
    return list(late.values_list("pk", flat=True)[:BATCH])


def _never_begun() -> list[int]:
    late = Run.objects.filter(status=RunStatus.QUEUED, updated_at__lt=timezone.now() - PATIENCE)
    ids = list(late.order_by("pk").values_list("pk", flat=True)[:BATCH])
    Run.objects.filter(pk__in=ids, status=RunStatus.QUEUED).update(updated_at=timezone.now())
    return ids


def _lagging() -> list[int]:
    """Runs with active tasks that lag behind their jobs."""
    return list(TaskRun.objects.lagging().order_by("run_id").values_list("run_id", flat=True).distinct()[:BATCH])


def _with_room() -> list[int]:
    ready = TaskRun.objects.filter(run=OuterRef("pk"), status=TaskStatus.READY)
    due = ready.filter(Q(due_at=None) | Q(due_at__lte=timezone.now()))
    running = Run.objects.filter(Exists(due), status=RunStatus.RUNNING, active_tasks__lt=F("parallelism"))
    return list(running.order_by("pk").values_list("pk", flat=True)[:BATCH])


def _stopping() -> list[int]:
    return list(Run.objects.filter(status=RunStatus.STOPPING).order_by("pk").values_list("pk", flat=True)[:BATCH])


def _stale() -> list[int]:
    """Runs nothing has happened to for a while; each is named once per `STALE`."""
    before = timezone.now() - STALE
    quiet = Run.objects.filter(status__in=RUN_UNFINISHED - {RunStatus.QUEUED}, updated_at__lt=before)
    unchecked = quiet.filter(Q(checked_at=None) | Q(checked_at__lt=before))
    return list(unchecked.order_by("pk").values_list("pk", flat=True)[:JUDGED])
