"""Reads that span tables."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta

from django.db import connection
from django.db.models import Exists, OuterRef, Q, QuerySet, Subquery

from apps.pipelines.choices import RUN_FINISHED, RunStatus
from apps.pipelines.models import Pipeline, Run, Version
from apps.projects.models import Project

from .admission import BackfillFacts, Rules, SlotFacts
from .choices import Kind, Overlap, Past, SlotStatus
from .models import Backfill, Schedule, Slot, timetable_of
from .planning import next_after

NONE: frozenset[int] = frozenset()
NEWEST_RUNS = 20_000  # that a sweep looks through


def due(now: datetime, *, limit: int) -> list[int]:
    """Keys of schedules whose next time has come, the longest due first. What comes after it is worked out on the way,
    before any row is locked: many different cron lines cost processor time, and nobody has to wait for that."""
    rows = Schedule.objects.filter(is_paused=False, next_fire_at__lte=now).order_by("next_fire_at")
    columns = ("pk", "next_logical_at", "kind", "cron", "zone", "fold", "interval_seconds", "start_at", "anchor_at")
    found = list(rows.values_list(*columns)[:limit])
    for _pk, logical_at, kind, cron, zone, fold, seconds, start_at, anchor_at in found:
        if (timetable := timetable_of(kind, cron, zone, fold, seconds, start_at or anchor_at)) is not None:
            next_after(timetable, logical_at)
    return [row[0] for row in found]


def next_due_at() -> datetime | None:
    """When the next schedule is due; None when none will be."""
    rows = Schedule.objects.filter(is_paused=False, next_fire_at__isnull=False)
    return rows.order_by("next_fire_at").values_list("next_fire_at", flat=True).first()


def due_by(moment: datetime) -> int:
    """How many schedules are due at `moment` or before."""
    return Schedule.objects.filter(is_paused=False, next_fire_at__lte=moment).count()


def locked(ids: Iterable[int], *, wait: bool = False, limit: int | None = None) -> list[Schedule]:
    """These schedules, at most `limit` of them, under their locks, by key; those that somebody holds are left out, or
    waited for.

    What they refer to is mostly the same few rows, so it is read once and not joined to each.
    """
    rows = Schedule.objects.filter(pk__in=list(ids)).order_by("pk")
    skip = not wait and connection.features.has_select_for_update_skip_locked
    return _with_what_they_name(rows.select_for_update(of=("self",), skip_locked=skip)[:limit])


def locked_ahead(moment: datetime, *, limit: int) -> list[Schedule]:
    """Up to `limit` schedules that are due by `moment`, which is to come, and will start whatever happens until then,
    under their locks; those that somebody holds are left out."""
    rows = Schedule.objects.filter(is_paused=False, next_fire_at__lte=moment).order_by("next_fire_at")
    unfinished = Slot.objects.unfinished().filter(schedule=OuterRef("pk"))
    awaited = Schedule.waits_for.through.objects.filter(schedule=OuterRef("pk"))
    unbound = Q(overlap=Overlap.PARALLEL, depends_on_past=Past.OFF, keep_newest=None)
    certain = rows.filter(unbound | ~Exists(unfinished), ~Exists(awaited))
    return _with_what_they_name(certain.select_for_update(of=("self",), skip_locked=True)[:limit])


def _with_what_they_name(rows: QuerySet[Schedule]) -> list[Schedule]:
    found = list(rows)
    projects = Project.objects.in_bulk({row.project_id for row in found})
    pipelines = Pipeline.objects.defer("description").in_bulk({row.pipeline_id for row in found})
    versions = Version.objects.defer("graph").in_bulk({row.pipeline_version_id for row in found} - {None})
    for row in found:
        row.project, row.pipeline = projects[row.project_id], pipelines[row.pipeline_id]
        if row.pipeline_version_id is not None:
            row.pipeline_version = versions[row.pipeline_version_id]
    return found


def awaited_by(schedules: Iterable[Schedule], relation: str) -> dict[int, frozenset[int]]:
    """By schedule, the pipelines of `waits_for` or `after`; schedules without any are not in it."""
    through = getattr(Schedule, relation).through.objects.filter(schedule__in=[row.pk for row in schedules])
    found: dict[int, set[int]] = {}
    for schedule, pipeline in through.order_by().values_list("schedule_id", "pipeline_id"):
        found.setdefault(schedule, set()).add(pipeline)
    return {schedule: frozenset(pipelines) for schedule, pipelines in found.items()}


def names_awaited_by(schedule_ids: Collection[int]) -> dict[int, str]:
    """By schedule, the names of all pipelines it waits for or follows, in one line."""
    if not schedule_ids:
        return {}
    names: dict[int, set[str]] = {}
    for through in (Schedule.waits_for.through, Schedule.after.through):
        rows = through.objects.filter(schedule__in=schedule_ids).order_by()
        for schedule, name in rows.values_list("schedule_id", "pipeline__name"):
            names.setdefault(schedule, set()).add(name)
    return {schedule: ", ".join(sorted(found)) for schedule, found in names.items()}


def existing(slots: Collection[Slot]) -> set[tuple[int, datetime]]:
    """Which of these times have a row: somebody ran one before its time, or a backfill did."""
    schedules, times = {slot.schedule_id for slot in slots}, {slot.logical_at for slot in slots}
    rows = Slot.objects.filter(schedule__in=schedules, logical_at__in=times)
    return set(rows.order_by().values_list("schedule_id", "logical_at"))


def to_check(now: datetime, *, limit: int) -> list[int]:
    """Schedules with waiting slots that are to be looked at again."""
    rows = Slot.objects.filter(status=SlotStatus.WAITING, check_at__lte=now).order_by("check_at")
    return list(dict.fromkeys(rows.values_list("schedule_id", flat=True)[:limit]))


def unfinished_of(schedules: Collection[Schedule]) -> list[Slot]:
    """With the status of their runs, which tells those that are being stopped."""
    rows = Slot.objects.unfinished().filter(schedule__in=schedules).select_related("run").order_by("logical_at")
    return list(rows.defer("run__params", "run__message"))


def rules_of(schedules: Collection[Schedule]) -> dict[int, Rules]:
    """Of each schedule, by its key."""
    awaited, followed = awaited_by(schedules, "waits_for"), awaited_by(schedules, "after")
    return {row.pk: _rules(row, awaited.get(row.pk, NONE), followed.get(row.pk, NONE)) for row in schedules}


def _rules(schedule: Schedule, awaited: frozenset[int], followed: frozenset[int]) -> Rules:
    joint = followed if schedule.kind == Kind.AFTER and len(followed) > 1 else NONE
    return Rules(
        max_active_runs=schedule.max_active_runs,
        overlap=schedule.overlap,
        depends_on_past=schedule.depends_on_past,
        past_allows_missed=schedule.past_allows_missed,
        past_allows_stopped=schedule.past_allows_stopped,
        waits_for=awaited | joint,
        wait_limit=timedelta(seconds=schedule.wait_seconds) if schedule.wait_seconds else None,
        keep_newest=schedule.keep_newest,
        is_paused=schedule.is_paused,
    )


def facts_of(slot: Slot, key: int) -> SlotFacts:
    return SlotFacts(
        key=key,
        logical_at=slot.logical_at,
        status=slot.status,
        due_at=slot.due_at,
        is_ignored=slot.is_ignored,
        is_forced=slot.is_forced,
        failures=slot.failures,
        backfill=slot.backfill_id,
        is_stopping=slot.run is not None and slot.run.status == RunStatus.STOPPING,
    )


def pasts_of(slots: Sequence[Slot], schedules: Mapping[int, Schedule]) -> dict[int, Slot | None]:
    """By key, the slot before each waiting one of a schedule that looks at it; None for a first one."""
    asking = [
        slot.pk
        for slot in slots
        if slot.status == SlotStatus.WAITING and schedules[slot.schedule_id].depends_on_past != Past.OFF
    ]
    if not asking:
        return {}
    earlier = Slot.objects.filter(schedule=OuterRef("schedule"), logical_at__lt=OuterRef("logical_at"))
    newest = Subquery(earlier.order_by("-logical_at").values("pk")[:1])
    pairs = dict(Slot.objects.filter(pk__in=asking).order_by().annotate(before=newest).values_list("pk", "before"))
    rows = Slot.objects.select_related("run").in_bulk([pk for pk in pairs.values() if pk])
    return {pk: rows.get(before) for pk, before in pairs.items()}


def upstream_of(slots: Sequence[Slot], rules: Mapping[int, Rules]) -> dict[datetime, frozenset[int]]:
    """For each logical time that waits for pipelines: those that have succeeded for it."""
    asking = [slot for slot in slots if slot.status == SlotStatus.WAITING and rules[slot.schedule_id].waits_for]
    if not asking:
        return {}
    wanted = {pipeline for slot in asking for pipeline in rules[slot.schedule_id].waits_for}
    runs = Run.objects.filter(
        pipeline__in=wanted, logical_at__in={slot.logical_at for slot in asking}, status=RunStatus.SUCCEEDED
    )
    found: dict[datetime, set[int]] = {}
    for logical_at, pipeline in runs.order_by().values_list("logical_at", "pipeline_id").distinct():
        found.setdefault(logical_at, set()).add(pipeline)
    return {logical_at: frozenset(pipelines) for logical_at, pipelines in found.items()}


def backfills_of(slots: Iterable[Slot]) -> dict[int, BackfillFacts]:
    keys = {slot.backfill_id for slot in slots if slot.backfill_id}
    rows = Backfill.objects.filter(pk__in=keys) if keys else Backfill.objects.none()
    return {row.pk: BackfillFacts(row.max_active_runs, row.status, row.order) for row in rows}


def ended_unnoticed(*, limit: int) -> list[int]:
    """Runs that ended, or were reopened, without their slot being told: a message got lost."""
    ended = Slot.objects.filter(status=SlotStatus.RUNNING, run__status__in=RUN_FINISHED)
    reopened = Slot.objects.filter(
        run__in=Run.objects.unfinished(), status__in=[SlotStatus.SUCCEEDED, SlotStatus.FAILED, SlotStatus.STOPPED]
    )
    found = list(ended.order_by().values_list("run_id", flat=True)[:limit])
    return found + list(reopened.order_by().values_list("run_id", flat=True)[: limit - len(found)])


def without_run() -> QuerySet[Slot]:
    """Running slots whose run was deleted."""
    return Slot.objects.filter(status=SlotStatus.RUNNING, run__isnull=True)


def waiting_on(pipeline_ids: Iterable[int]) -> list[int]:
    """Schedules with waiting slots that need a run of one of these pipelines."""
    waiting = Slot.objects.filter(status=SlotStatus.WAITING)
    ids = list(pipeline_ids)
    awaiting = waiting.filter(schedule__waits_for__in=ids).values_list("schedule_id", flat=True)
    following = waiting.filter(schedule__kind=Kind.AFTER, schedule__after__in=ids).values_list("schedule_id", flat=True)
    return list({*awaiting, *following})


def followers_of(pipeline_ids: Iterable[int]) -> list[int]:
    rows = Schedule.objects.filter(kind=Kind.AFTER, after__in=list(pipeline_ids))
    return list(rows.order_by().values_list("pk", flat=True).distinct())


def recently_followed(*, since: datetime) -> QuerySet[Run]:
    """Runs that succeeded since then and that a schedule follows, of the newest there are: history costs nothing."""
    newest = Run.objects.order_by("-pk").values_list("pk", flat=True).first() or 0
    runs = Run.objects.filter(pk__gt=newest - NEWEST_RUNS, status=RunStatus.SUCCEEDED, finished_at__gte=since)
    followed = Schedule.after.through.objects.values("pipeline_id")
    return runs.filter(pipeline__in=followed).defer("params").order_by("-pk")


def running_backfills_done() -> QuerySet[Backfill]:
    """Backfills of which every slot has ended."""
    open_slots = Slot.objects.unfinished().filter(backfill__isnull=False).values("backfill_id")
    return Backfill.objects.filter(status="running").exclude(pk__in=open_slots)
