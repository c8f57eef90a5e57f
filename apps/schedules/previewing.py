"""What a timetable means before it is saved: in words, and its next times. It reads and saves no row."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from typing import Any
from zoneinfo import ZoneInfo

from django.utils.translation import gettext as _

from .choices import FoldChoice, Kind
from .models import Schedule, timetable_of
from .timetables import describe, occurrences, zone_named

LISTED = 20


@dataclass(frozen=True)
class Preview:
    in_words: str
    times: list[datetime]
    zone: ZoneInfo

    @property
    def rows(self) -> list[dict[str, Any]]:
        """Each time in UTC and as the wall clock of the zone reads, with what is odd about it."""
        local = [at.astimezone(self.zone) for at in self.times]
        return [
            {"at": at, "local": wall, "note": _note(wall, local[place - 1] if place else None)}
            for place, (at, wall) in enumerate(zip(self.times, local, strict=True))
        ]


def preview(asked: Mapping[str, Any], *, now: datetime, count: int = LISTED) -> Preview:
    """The next times of a timetable given by `kind`, `cron`, `zone`, … Raises InvalidInput naming what is wrong."""
    zone = zone_named(asked.get("zone") or "UTC")
    kind, start_at, end_at = asked.get("kind") or Kind.CRON, asked.get("start_at"), asked.get("end_at")
    fold, anchor = asked.get("fold") or FoldChoice.FIRST, start_at or now
    timetable = timetable_of(kind, asked.get("cron") or "", zone.key, fold, asked.get("interval_seconds"), anchor)
    if timetable is None:
        return Preview(_("After other pipelines"), [], zone)
    after = max(now, start_at - timedelta(seconds=1)) if start_at else now
    times = list(islice(occurrences(timetable, after=after, until=end_at), count))
    return Preview(describe(timetable), times, zone)  # type: ignore[arg-type]


def coming(schedule: Schedule, *, now: datetime, count: int = LISTED) -> list[datetime]:
    """The next times of a saved schedule, also of a paused one; within its start and end."""
    timetable = schedule.timetable
    if timetable is None:
        return []
    after = max(now, schedule.start_at - timedelta(seconds=1)) if schedule.start_at else now
    return list(islice(occurrences(timetable, after=after, until=schedule.end_at), count))


def _note(wall: datetime, before: datetime | None) -> str:
    if before is not None and wall.utcoffset() != before.utcoffset():
        return _("clocks are set before this: now UTC%(offset)s") % {"offset": wall.strftime("%z")}
    return ""
