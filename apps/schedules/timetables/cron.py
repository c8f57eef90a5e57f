"""A cron line in a zone.

A line that names hours is kept by the wall clock: a time that clocks skip runs once, right after the gap; a time that
comes twice runs once, at the first (or as `fold` says). A line for every hour follows real time: it runs whenever the
wall clock reads so, which neither loses nor doubles an hour. cronsim goes by a leading `*` instead, loses the slots of
`*/2` hours in a gap and gives several for one gap, and knows no choice for the fold; so these few lines are our own.
"""

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import cached_property, lru_cache
from zoneinfo import ZoneInfo

from django.utils.translation import gettext as _

from apps.core.errors import InvalidInput

from .fields import DAY, HOUR, LAST, MINUTE, MONTH, WEEKDAY, BadField, Field, read
from .rules import Fold, zone_named

SHORTHANDS = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
LONGEST = 200  # characters
DAYS_KEPT = 4
HORIZON_MONTHS = 50 * 12  # beyond the longest wait there is: a 29 February on a given weekday, around 2100


@dataclass(frozen=True, eq=False)  # `parse` gives the same object for the same line, so identity is equality
class Cron:
    minute: Field
    hour: Field
    day: Field
    month: Field
    weekday: Field
    zone: ZoneInfo
    fold: Fold = Fold.FIRST

    @property
    def follows_real_time(self) -> bool:
        return len(self.hour.values) == 24

    @cached_property
    def _kept(self) -> dict[datetime, list[datetime]]:
        return {}

    @cached_property
    def minutes_of_day(self) -> list[int]:
        return sorted(hour * 60 + minute for hour in self.hour.values for minute in self.minute.values)

    def matches(self, day: date) -> bool:
        """Both day fields must agree when one starts with a star, as in every cron; else either is enough."""
        if day.month not in self.month.values:
            return False
        of_month, of_week = self._of_month(day), self._of_week(day)
        both = self.day.is_starred or self.weekday.is_starred
        return (of_month and of_week) if both else (of_month or of_week)

    def next_after(self, moment: datetime) -> datetime | None:
        """In UTC; None when nothing comes within fifty years."""
        moment = moment.astimezone(UTC)
        # A day's times may fall on the day after (a skipped midnight), so begin a day early and look one further.
        begun = _local(moment, self.zone).date() - timedelta(days=1)
        found: datetime | None = None
        for day in self._days(begun):
            if found is not None and day > _local(found, self.zone).date() + timedelta(days=1):
                break
            later = self._first_of(day, moment)
            if later is not None and (found is None or later < found):
                found = later
        return found

    def _days(self, first: date) -> Iterator[date]:
        day = first
        for _month in range(HORIZON_MONTHS):
            if day.month in self.month.values:
                month = day.month
                while day.month == month:
                    if self.matches(day):
                        yield day
                    day += timedelta(days=1)
            else:
                day = (day.replace(day=1) + timedelta(days=32)).replace(day=1)

    def _of_month(self, day: date) -> bool:
        return day.day in self.day.values or (LAST in self.day.values and (day + timedelta(days=1)).month != day.month)

    def _of_week(self, day: date) -> bool:
        weekday = (day.weekday() + 1) % 7
        return (
            weekday in self.weekday.values
            or (weekday, (day.day + 6) // 7) in self.weekday.nth
            or ((weekday, LAST) in self.weekday.nth and (day + timedelta(days=7)).month != day.month)
        )

    def _first_of(self, day: date, moment: datetime) -> datetime | None:
        """The day's first time after `moment`."""
        midnight = datetime.combine(day, time())
        offset = _offset(midnight, self.zone)
        if all(_offset(midnight + timedelta(hours=hours), self.zone) == offset for hours in (-3, 27)):
            return self._first_of_plain(midnight.replace(tzinfo=UTC) - offset, moment)
        instants = self._instants_of(midnight)
        place = bisect_right(instants, moment)
        return instants[place] if place < len(instants) else None

    def _instants_of(self, midnight: datetime) -> list[datetime]:
        """All times of a day on which clocks are set. Such days are few, and asked about over and over."""
        if midnight not in self._kept:
            wall = (midnight + timedelta(minutes=minute) for minute in self.minutes_of_day)
            self._kept[midnight] = sorted({instant for local in wall for instant in self._instants(local)})
            if len(self._kept) > DAYS_KEPT:
                del self._kept[next(iter(self._kept))]
        return self._kept[midnight]

    def _first_of_plain(self, midnight: datetime, moment: datetime) -> datetime | None:
        """The same on a day on which no clock is set, which nearly every day is."""
        passed = (moment - midnight) // timedelta(minutes=1)
        place = bisect_right(self.minutes_of_day, passed)
        if place == len(self.minutes_of_day):
            return None
        return midnight + timedelta(minutes=self.minutes_of_day[place])

    def _instants(self, local: datetime) -> list[datetime]:
        """When the wall clock reads `local`: never, once, or twice."""
        first, second = (local.replace(tzinfo=self.zone, fold=fold).astimezone(UTC) for fold in (0, 1))
        if first == second:
            return [first]
        if first < second:
            if self.follows_real_time or self.fold == Fold.BOTH:
                return [first, second]
            return [second if self.fold == Fold.SECOND else first]
        return [] if self.follows_real_time else [_end_of_gap(second, first, self.zone)]


def _local(moment: datetime, zone: ZoneInfo) -> datetime:
    return moment.astimezone(zone)


def _offset(local: datetime, zone: ZoneInfo) -> timedelta:
    return local.replace(tzinfo=zone).utcoffset() or timedelta()


def _end_of_gap(low: datetime, high: datetime, zone: ZoneInfo) -> datetime:
    """The moment between two clocks are set forward, to the minute: the first that is real again."""
    before = low.astimezone(zone).utcoffset()
    while high - low > timedelta(minutes=1):
        middle = low + timedelta(minutes=((high - low) // timedelta(minutes=1)) // 2)
        low, high = (middle, high) if middle.astimezone(zone).utcoffset() == before else (low, middle)
    return high


@lru_cache(maxsize=20_000)
def parse(text: str, zone: str = "UTC", fold: Fold = Fold.FIRST, at: str = "cron") -> Cron:
    """Read a cron line. Raises InvalidInput at the fields `at` and `zone`, also for a line that never comes round."""
    where = zone_named(zone)
    line = SHORTHANDS.get(text.strip().lower(), text.strip().upper())
    if line.startswith("@"):
        raise InvalidInput({at: _("Of the short forms there are %(all)s.") % {"all": ", ".join(SHORTHANDS)}})
    if len(text) > LONGEST:
        raise InvalidInput({at: _("Too long: at most %(n)d characters.") % {"n": LONGEST}})
    parts = line.split()
    if len(parts) != 5:
        what = _("A cron line has five fields: minute, hour, day of the month, month, day of the week. This has %(n)d.")
        raise InvalidInput({at: what % {"n": len(parts)}})
    try:
        read_fields = [read(part, kind) for part, kind in zip(parts, (MINUTE, HOUR, DAY, MONTH, WEEKDAY), strict=True)]
    except BadField as refusal:
        raise InvalidInput({at: str(refusal)}) from None
    cron = Cron(*read_fields, zone=where, fold=fold)
    if next(cron._days(date(2024, 1, 1)), None) is None:
        raise InvalidInput({at: _("This never comes: there is no such day, as with 30 February. Check day and month.")})
    return cron
