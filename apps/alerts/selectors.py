"""What is wrong, read from the rows of pipelines and schedules: the truth a look compares incidents with."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from operator import itemgetter
from typing import Any

from django.conf import settings
from django.db.models import Max, Min, Q, QuerySet
from django.utils.translation import gettext as _

from apps.pipelines.choices import Launch, RunStatus
from apps.pipelines.models import Pipeline, Run
from apps.schedules.choices import SlotStatus
from apps.schedules.choices import Why as SlotWhy
from apps.schedules.models import Schedule, Slot

from .choices import Condition, DeliveryStatus
from .models import Delivery, Incident, Rule

NEWEST = 20  # times of a schedule, or runs of a pipeline, among which the one that ended last is looked for
LOOK_BACK = timedelta(hours=1)  # how far the sweep looks for failures that nobody told of
NEWEST_RUNS = 20_000  # that a sweep looks through: history costs nothing
BATCH = 500


@dataclass(frozen=True)
class Trouble:
    """It is wrong, last seen to happen at `at`."""

    at: datetime
    run_id: int | None = None
    slot_id: int | None = None
    message: str = ""


@dataclass(frozen=True)
class Clear:
    """It is right, since `at`."""

    at: datetime


@dataclass
class Subject:
    """A schedule, or a pipeline's runs that no schedule started. A condition that is not in `states` is not known."""

    pipeline_id: int
    schedule_id: int | None
    states: dict[str, Trouble | Clear] = field(default_factory=dict)

    @property
    def word(self) -> str:
        return f"schedule:{self.schedule_id}" if self.schedule_id else f"pipeline:{self.pipeline_id}"


def subjects(
    *, project_id: int, schedule_ids: Collection[int], pipeline_ids: Collection[int], now: datetime
) -> list[Subject]:
    """How these stand. Keys that are of another project, or gone, are left out."""
    rows = Schedule.objects.filter(project_id=project_id, pk__in=list(schedule_ids)).defer("params")
    oldest = _oldest_open(rows.values("pk"))
    found = [_schedule(row, oldest.get(row.pk), now) for row in rows]
    mine = Pipeline.objects.filter(project_id=project_id, pk__in=list(pipeline_ids))
    return found + [_pipeline(pk, now) for pk in mine.order_by("pk").values_list("pk", flat=True)]


def _oldest_open(schedules: Any) -> dict[int, datetime]:
    """The oldest live time of each that has not ended, read from the index of unfinished ones."""
    rows = Slot.objects.unfinished().filter(schedule__in=schedules, backfill=None).order_by()
    return dict(rows.values("schedule").annotate(oldest=Min("logical_at")).values_list("schedule", "oldest"))


# -- schedules --------------------------------------------------------------------------------------------------------
def _schedule(schedule: Schedule, oldest: datetime | None, now: datetime) -> Subject:
    subject = Subject(schedule.pipeline_id, schedule.pk)
    if (result := _result_of_schedule(schedule, now)) is not None:
        subject.states[Condition.FAILED] = result
    subject.states[Condition.LATE] = _lateness(schedule, oldest, now)
    subject.states[Condition.PAUSED] = _pause(schedule, now)
    return subject


def _result_of_schedule(schedule: Schedule, now: datetime) -> Trouble | Clear | None:
    """Of the live time that ended last. A time that will be retried has not ended; what a person marked is right."""
    judged = Slot.objects.filter(
        schedule=schedule,
        backfill=None,
        status__in=[SlotStatus.SUCCEEDED, SlotStatus.FAILED],
        finished_at__isnull=False,
    )
    newest = max(judged.order_by("-logical_at")[:NEWEST], key=lambda slot: slot.finished_at, default=None)
    if newest is None:
        return None
    if newest.is_ignored or newest.reason == SlotWhy.MARKED:
        return Clear(now)
    if newest.status == SlotStatus.SUCCEEDED:
        return Clear(newest.finished_at)
    return Trouble(newest.finished_at, newest.run_id, newest.pk, newest.message)


def _lateness(schedule: Schedule, oldest: datetime | None, now: datetime) -> Trouble | Clear:
    """Late is a time that has not ended by its deadline, and one nobody has even made by then."""
    if schedule.deadline_seconds is None:
        return Clear(now)
    coming = None if schedule.is_paused else schedule.next_logical_at
    first = min((at for at in (oldest, coming) if at is not None), default=None)
    late_at = schedule.late_at(first) if first else None
    if first is None or late_at is None or late_at >= now:
        return Clear(now)
    told = {"time": f"{first:%Y-%m-%d %H:%M:%S}", "late_at": f"{late_at:%Y-%m-%d %H:%M:%S}"}
    return Trouble(late_at, message=_("The time %(time)s UTC has not ended by its deadline, %(late_at)s UTC.") % told)


def _pause(schedule: Schedule, now: datetime) -> Trouble | Clear:
    """A schedule that a person paused is as it should be."""
    limit = schedule.pause_after_failures
    by_itself = schedule.is_paused and schedule.paused_by_id is None and 0 < limit <= schedule.failures_in_a_row
    if by_itself and schedule.paused_at is not None:
        return Trouble(schedule.paused_at, message=schedule.paused_note)
    return Clear(now)


# -- pipelines --------------------------------------------------------------------------------------------------------
def _pipeline(pipeline_id: int, now: datetime) -> Subject:
    subject = Subject(pipeline_id, None)
    ended = [(run.finished_at or now, run) for run in _judged(pipeline_id).order_by("-pk")[:NEWEST]]
    if ended:
        at, run = max(ended, key=itemgetter(0))
        failed = run.status == RunStatus.FAILED
        subject.states[Condition.FAILED] = Trouble(at, run.pk, None, run.message) if failed else Clear(at)
    return subject


def _judged(pipeline_id: int) -> QuerySet[Run]:
    """Failures of runs that no schedule started, for those are its times' affair; any success counts."""
    own = Run.objects.filter(pipeline=pipeline_id, finished_at__isnull=False).exclude(trigger=Launch.BACKFILL)
    failed = Q(status=RunStatus.FAILED) & ~Q(trigger=Launch.SCHEDULE)
    return own.filter(failed | Q(status=RunStatus.SUCCEEDED)).defer("params")


# -- what incidents and sweeps ask ------------------------------------------------------------------------------------
def failures_since(incident: Incident) -> int:
    """How often it has failed since the incident began, by runs: exact however many messages were lost."""
    if incident.first_run_id is None:
        return 0
    if incident.schedule_id is not None:
        slots = Slot.objects.filter(schedule=incident.schedule_id, backfill=None, status=SlotStatus.FAILED)
        return int(slots.filter(run_id__gte=incident.first_run_id).count())
    runs = _judged(incident.pipeline_id).filter(status=RunStatus.FAILED, pk__gte=incident.first_run_id)
    return int(runs.count())


def last_seen(rules: Iterable[Rule], words: Collection[str]) -> dict[tuple[int, str, str], datetime]:
    """When each trouble that had an incident was last seen: what is not newer opens no other."""
    rows = Incident.objects.filter(rule__in=list(rules), subject__in=words).order_by()
    rows = rows.values("rule", "condition", "subject").annotate(at=Max("last_at"))
    return {(row["rule"], row["condition"], row["subject"]): row["at"] for row in rows}


def kept_since(now: datetime) -> datetime:
    """What was over before it is not kept. With a limit of 0 days everything is."""
    days = settings.CUBE_ALERT_RETENTION_DAYS
    return now - timedelta(days=days) if days else datetime.min.replace(tzinfo=UTC)


def watched_projects(among: Iterable[int] | None = None) -> list[int]:
    """Projects with a rule that is switched on: all, or those of `among`."""
    rules = Rule.objects.filter(is_enabled=True)
    if among is not None:
        rules = rules.filter(project__in=list(among))
    return list(rules.order_by().values_list("project_id", flat=True).distinct())


def suspects(project_id: int, *, now: datetime) -> tuple[set[int], set[int]]:
    """Schedules and pipelines of a project with which something is, or may be, wrong: all that a sweep looks at."""
    mine = Schedule.objects.filter(project_id=project_id).order_by()
    schedules = {*mine.filter(failures_in_a_row__gt=0).values_list("pk", flat=True), *_late(mine, now)}
    newest = Run.objects.order_by("-pk").values_list("pk", flat=True).first() or 0
    failed = Run.objects.filter(project_id=project_id, status=RunStatus.FAILED, pk__gt=newest - NEWEST_RUNS)
    recent = failed.filter(finished_at__gte=now - LOOK_BACK).exclude(trigger__in=[Launch.SCHEDULE, Launch.BACKFILL])
    pipelines = set(recent.order_by().values_list("pipeline_id", flat=True))
    for pipeline, schedule in _open_subjects(project_id):
        (pipelines if schedule is None else schedules).add(pipeline if schedule is None else schedule)
    return schedules, pipelines


def _late(mine: QuerySet[Schedule], now: datetime) -> set[int]:
    dated = mine.filter(deadline_seconds__isnull=False)
    oldest = _oldest_open(dated.values("pk"))
    return {row.pk for row in dated.defer("params") if isinstance(_lateness(row, oldest.get(row.pk), now), Trouble)}


def _open_subjects(project_id: int) -> list[tuple[int, int | None]]:
    rows = Incident.objects.open().filter(project_id=project_id).order_by()
    return list(rows.values_list("pipeline_id", "schedule_id").distinct())


def troubled_schedules(uids: Collection[str]) -> dict[int, list[int]]:
    """Of these, by project, the ones with an open incident: recovery is told at once."""
    rows = Incident.objects.open().filter(schedule__uid__in=uids).order_by()
    found: dict[int, list[int]] = {}
    for project, schedule in rows.values_list("project_id", "schedule_id").distinct():
        found.setdefault(project, []).append(schedule)
    return found


def is_watched(project_id: int) -> bool:
    return Rule.objects.filter(project_id=project_id, is_enabled=True).exists()


def snoozes_over(now: datetime) -> tuple[list[int], list[int]]:
    """Rules, and open incidents, whose snooze has ended."""
    over = {"snoozed_until__lte": now}
    rules = list(Rule.objects.filter(**over).order_by("pk").values_list("pk", flat=True)[:BATCH])
    incidents = Incident.objects.filter(**over).order_by("pk").values_list("pk", flat=True)
    return rules, list(incidents[:BATCH])


def due_deliveries(now: datetime) -> list[int]:
    """Messages whose time has come, the oldest first."""
    rows = Delivery.objects.filter(status=DeliveryStatus.PENDING, next_at__lte=now)
    return list(rows.order_by("next_at").values_list("pk", flat=True)[:BATCH])
