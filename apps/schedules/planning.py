"""Which times of a schedule have come and when it is looked at next. Pure, and computed before any row is locked."""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache

from .catchup import ENOUGH, Policy, judge
from .choices import CatchUp, Why
from .models import Schedule
from .timetables import Timetable, occurrences

SECOND = timedelta(seconds=1)


@dataclass(frozen=True)
class Next:
    """The next time of a schedule, and when it is fired: its spread later, but before the time after it."""

    logical_at: datetime | None
    fire_at: datetime | None


@dataclass(frozen=True)
class Plan:
    verdicts: Mapping[datetime, Why]
    next: Next


@lru_cache(maxsize=50_000)
def next_after(timetable: Timetable, moment: datetime) -> datetime | None:
    """Many schedules share a cron line and a zone, and are asked about the same moment."""
    return timetable.next_after(moment)


def next_of(schedule: Schedule, *, after: datetime) -> Next:
    """The first time after `after`, within the schedule's start and end."""
    timetable = schedule.timetable
    if timetable is None:
        return Next(None, None)
    if schedule.start_at and schedule.start_at > after:  # the start itself counts
        after = schedule.start_at - SECOND
    logical_at = next_after(timetable, after)
    if logical_at is None or (schedule.end_at and logical_at > schedule.end_at):
        return Next(None, None)
    return Next(logical_at, logical_at + _spread(schedule, timetable, logical_at))


def _spread(schedule: Schedule, timetable: Timetable, logical_at: datetime) -> timedelta:
    if not schedule.jitter_seconds:
        return timedelta()
    following = next_after(timetable, logical_at)
    spread = timedelta(seconds=schedule.jitter)
    return spread if following is None else min(spread, following - logical_at - SECOND)


def fire_time(schedule: Schedule, logical_at: datetime) -> datetime:
    """When this time of the schedule is to be fired."""
    timetable = schedule.timetable
    return logical_at if timetable is None else logical_at + _spread(schedule, timetable, logical_at)


def plan(schedule: Schedule, *, now: datetime) -> Plan:
    """All times that have come, each with why it is not run, and the first that has not.

    At most `ENOUGH` times are told of at once when there are very many: those have enough after them to be past any
    policy, and the schedule stays due for the rest.
    """
    times: list[datetime] = []
    coming = Next(schedule.next_logical_at, schedule.next_fire_at)
    while coming.fire_at is not None and coming.logical_at is not None and coming.fire_at <= now:
        times.append(coming.logical_at)
        coming = next_of(schedule, after=coming.logical_at)
        if len(times) == 2 * ENOUGH:
            return _too_many(schedule, times, now)
    return Plan(judge(times, policy=policy_of(schedule), now=now), coming)


def _too_many(schedule: Schedule, times: list[datetime], now: datetime) -> Plan:
    window = timedelta(seconds=schedule.catch_up_window_seconds)
    why = {CatchUp.NONE: Why.CATCH_UP_NONE, CatchUp.LATEST: Why.CATCH_UP_LATEST, CatchUp.ALL: Why.CATCH_UP_LIMIT}
    recent = why[CatchUp(schedule.catch_up)]
    verdicts = {at: Why.CATCH_UP_WINDOW if now - at > window else recent for at in times[:ENOUGH]}
    return Plan(verdicts, Next(times[ENOUGH], times[ENOUGH]))


def policy_of(schedule: Schedule) -> Policy:
    return Policy(schedule.catch_up, schedule.catch_up_limit, timedelta(seconds=schedule.catch_up_window_seconds))


@lru_cache(maxsize=50_000)
def time_before(timetable: Timetable, moment: datetime) -> datetime | None:
    """The last time before `moment`, looked for in ever longer spans; None when there is none in forty years."""
    for days in (1 / 24, 1, 32, 370, 3000, 15_000):
        last = deque(occurrences(timetable, after=moment - timedelta(days=days), until=moment - SECOND), maxlen=1)
        if last:
            return last[0]
    return None


def interval_start(schedule: Schedule, logical_at: datetime, before: datetime | None = None) -> datetime:
    """Where the data interval of a time begins: at the time before it. It ends at the time itself."""
    timetable = schedule.timetable
    if timetable is None:
        return logical_at
    return before or time_before(timetable, logical_at) or logical_at
