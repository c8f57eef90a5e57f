"""A month of a schedule: what became of its past days, and how often it will run on the coming ones."""

import calendar
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from itertools import islice
from uuid import UUID
from zoneinfo import ZoneInfo

from django.db.models import Count, Max
from django.db.models.functions import TruncDate

from apps.pipelines.models import Run

from .choices import BADGES, SlotStatus
from .models import Schedule, Slot
from .timetables import occurrences

MOST_COMING = 2000  # times looked at; a day beyond them says "and more"


@dataclass(frozen=True)
class Mark:
    """How many times of a day have a status; `run_uid` where there is one alone, and it has a run."""

    status: str
    number: int
    run_uid: UUID | None

    @property
    def look(self) -> str:
        return BADGES[SlotStatus(self.status)]

    @property
    def words(self) -> str:
        return str(SlotStatus(self.status).label)


@dataclass
class Day:
    on: date
    is_outside: bool
    is_today: bool
    marks: list[Mark] = field(default_factory=list)
    coming: int = 0
    is_cut: bool = False


@dataclass(frozen=True)
class Month:
    first: date
    weeks: list[list[Day]]

    @property
    def before(self) -> str:
        return f"{self.first - timedelta(days=1):%Y-%m}"

    @property
    def after(self) -> str:
        return f"{self.first + timedelta(days=31):%Y-%m}"


def month_of(schedule: Schedule, slots: "type[Slot] | object", *, text: str, now: datetime) -> Month:
    """The month written as `2026-11`, else the present one; `slots` are those the reader may see."""
    zone = ZoneInfo(schedule.zone)
    today = now.astimezone(zone).date()
    first = _first_of(text, today)
    weeks = [
        [Day(day, day.month != first.month, day == today) for day in week]
        for week in calendar.Calendar().monthdatescalendar(first.year, first.month)
    ]
    days = {day.on: day for week in weeks for day in week}
    begin, end = (datetime.combine(day, time(), zone) for day in (min(days), max(days) + timedelta(days=1)))
    _count_past(schedule, slots, days, begin, end, zone)
    _count_coming(schedule, days, max(now, begin), end, zone)
    return Month(first, weeks)


def _first_of(text: str, today: date) -> date:
    try:
        found = datetime.strptime(text, "%Y-%m").date()  # noqa: DTZ007  a month has no zone
    except ValueError:
        return today.replace(day=1)
    return found if 1971 <= found.year <= 2199 else today.replace(day=1)


def _count_past(schedule, slots, days, begin, end, zone):  # type: ignore[no-untyped-def]
    rows = slots.filter(schedule=schedule, logical_at__gte=begin, logical_at__lt=end).order_by()
    by_day = rows.annotate(on=TruncDate("logical_at", tzinfo=zone)).values_list("on", "status")
    found = list(by_day.annotate(n=Count("pk"), only=Max("run")))
    alone = {run for _on, _status, number, run in found if number == 1}
    uids = dict(Run.objects.filter(pk__in=alone - {None}, project=schedule.project).values_list("pk", "uid"))
    for on, status, number, run in sorted(found, key=lambda row: SlotStatus.values.index(row[1])):
        days[on].marks.append(Mark(status, number, uids.get(run)))


def _count_coming(schedule, days, since, end, zone):  # type: ignore[no-untyped-def]
    timetable = schedule.timetable
    if timetable is None or since >= end or schedule.is_paused:
        return
    begin = max(since, schedule.start_at - timedelta(seconds=1)) if schedule.start_at else since
    until = min(end - timedelta(seconds=1), schedule.end_at) if schedule.end_at else end - timedelta(seconds=1)
    last = None
    for at in islice(occurrences(timetable, after=begin, until=until), MOST_COMING):
        last = at.astimezone(zone).date()
        days[last].coming += 1
    if last is not None and sum(day.coming for day in days.values()) == MOST_COMING:
        for on, day in days.items():
            day.is_cut = on >= last
