"""What every timetable answers, and the zones it is read in."""

from collections.abc import Iterator
from datetime import datetime
from enum import StrEnum
from functools import lru_cache
from typing import Protocol
from zoneinfo import ZoneInfo, available_timezones

from django.utils.translation import gettext as _

from apps.core.errors import InvalidInput


class Fold(StrEnum):
    """Which of two equal wall-clock times counts, when clocks are set back."""

    FIRST = "first"
    SECOND = "second"
    BOTH = "both"


class Timetable(Protocol):
    def next_after(self, moment: datetime) -> datetime | None:
        """The first time strictly after `moment`, in UTC; None when there is none."""


@lru_cache(maxsize=1)
def zone_names() -> frozenset[str]:
    return frozenset(available_timezones())


def zone_named(name: str, *, at: str = "zone") -> ZoneInfo:
    """The IANA zone of this name. Raises InvalidInput at the field `at`."""
    if name not in zone_names():
        text = _("%(name)s is no time zone. Use a name such as Europe/Berlin, America/New_York or UTC.")
        raise InvalidInput({at: text % {"name": name[:64] or "''"}})
    return ZoneInfo(name)


def occurrences(timetable: Timetable, *, after: datetime, until: datetime | None = None) -> Iterator[datetime]:
    """Its times after `after` (exclusive), up to `until` (inclusive), in order."""
    moment = timetable.next_after(after)
    while moment is not None and (until is None or moment <= until):
        yield moment
        moment = timetable.next_after(moment)
