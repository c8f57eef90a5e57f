"""The rules of timetables once more, the slow way: look at every minute of real time and ask what the wall clock says.

It shares no line with the product: fields are expanded here by brute force, and gaps and folds are seen, not computed.
"""

import calendar
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

MINUTE = timedelta(minutes=1)
NAMES = {
    4: dict(
        zip(
            ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"],
            range(1, 13),
            strict=True,
        )
    ),
    5: dict(zip(["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"], range(7), strict=True)),
}
BOUNDS = {1: (0, 59), 2: (0, 23), 3: (1, 31), 4: (1, 12), 5: (0, 6)}


class Oracle:
    def __init__(self, line: str, zone: str, fold: str = "first") -> None:
        self.texts = line.upper().split()
        self.zone, self.fold = ZoneInfo(zone), fold
        self.minutes, self.hours = self._numbers(1), self._numbers(2)
        self.every_hour = self.hours == set(range(24))
        self.days: dict[date, bool] = {}

    def times(self, since: datetime, until: datetime) -> list[datetime]:
        """All times in (since, until]."""
        return times_of([self], since, until)[0]

    def has(self, moment: datetime, wall: datetime, before: datetime, skipped: timedelta) -> bool:
        """Whether it runs at `moment`, when a clock reads `wall`; a minute ago it read `before`, and was set since."""
        read_now = self._reads(wall) and (self.every_hour or self._is_chosen(moment, wall))
        return read_now or bool(skipped and not self.every_hour and self._was_in(before, skipped))

    def _was_in(self, before: datetime, skipped: timedelta) -> bool:
        return any(self._reads(before + MINUTE * n) for n in range(1, skipped // MINUTE + 1))

    def _is_chosen(self, moment: datetime, wall: datetime) -> bool:
        """Of two moments with the same reading, the one that is asked for."""
        around = wall_of(moment + 180 * MINUTE, self.zone) - wall_of(moment - 180 * MINUTE, self.zone)
        shift = abs(360 - around // MINUTE)  # how far a clock is set near it
        near = [moment + MINUTE * n for n in (-shift, shift) if n]
        twins = [twin for twin in near if wall_of(twin, self.zone) == wall]
        if not twins or self.fold == "both":
            return True
        return moment < twins[0] if self.fold == "first" else moment > twins[0]

    def _reads(self, wall: datetime) -> bool:
        return wall.minute in self.minutes and wall.hour in self.hours and self._on(wall.date())

    def _on(self, day: date) -> bool:
        if day not in self.days:
            self.days[day] = self._is_day(day)
        return self.days[day]

    def _is_day(self, day: date) -> bool:
        if day.month not in self._numbers(4):
            return False
        of_month = any(self._month_term(term, day) for term in self.texts[2].split(","))
        of_week = any(self._week_term(term, day) for term in self.texts[4].split(","))
        if self.texts[2][0] == "*" or self.texts[4][0] == "*":
            return of_month and of_week
        return of_month or of_week

    def _month_term(self, term: str, day: date) -> bool:
        if term == "L":
            return day.day == calendar.monthrange(day.year, day.month)[1]
        return day.day in self._expand(term, 3)

    def _week_term(self, term: str, day: date) -> bool:
        weekday = day.isoweekday() % 7
        if "#" in term:
            name, nth = term.split("#")
            return self._number(name, 5) % 7 == weekday and (day.day - 1) // 7 + 1 == int(nth)
        if term.endswith("L"):
            last = calendar.monthrange(day.year, day.month)[1]
            return self._number(term[:-1], 5) % 7 == weekday and day.day > last - 7
        return weekday in {n % 7 for n in self._expand(term, 5)}

    def _numbers(self, field: int) -> set[int]:
        return {n for term in self.texts[field - 1].split(",") for n in self._expand(term, field)}

    def _expand(self, term: str, field: int) -> set[int]:
        low, high = BOUNDS[field]
        if "/" in term:
            span, step = term.split("/")
            inside = sorted(self._expand(span if span == "*" or "-" in span else f"{span}-{high}", field))
            return set(inside[:: int(step)])
        if term == "*":
            return set(range(low, high + 1))
        first, _, last = term.partition("-")
        return set(range(self._number(first, field), self._number(last or first, field) + 1))

    def _number(self, text: str, field: int) -> int:
        return NAMES.get(field, {}).get(text, -1) if not text.isdecimal() else int(text)


def wall_of(moment: datetime, zone: ZoneInfo) -> datetime:
    return moment.astimezone(zone).replace(tzinfo=None, fold=0)


def times_of(oracles: list[Oracle], since: datetime, until: datetime) -> list[list[datetime]]:
    """All times in (since, until] of each. They are of one zone: each minute's wall clock is read once for all."""
    zone, found = oracles[0].zone, [[] for _oracle in oracles]
    before, moment = wall_of(since, zone), since + MINUTE
    while moment <= until:
        wall = wall_of(moment, zone)
        skipped = wall - before - MINUTE if wall > before + MINUTE else timedelta()
        for oracle, times in zip(oracles, found, strict=True):
            if oracle.has(moment, wall, before, skipped):
                times.append(moment)
        before, moment = wall, moment + MINUTE
    return found


def years(first: int, count: int) -> tuple[datetime, datetime]:
    return datetime(first, 1, 1, tzinfo=UTC), datetime(first + count, 1, 1, tzinfo=UTC)
