"""The five fields of a cron line: names, lists, ranges, steps, `L` and `#`. Everything else is refused in words."""

from collections.abc import Mapping
from dataclasses import dataclass

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

MONTHS = {
    name: n
    for n, name in enumerate(["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"], 1)
}
DAYS = {name: n for n, name in enumerate(["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"])}
LAST = -1  # "L" of a month's days; (weekday, LAST) of a month's last such day


class BadField(Exception):
    """What is wrong with one field, in words."""


@dataclass(frozen=True)
class Kind:
    label: str
    low: int
    high: int
    names: Mapping[str, int]


MINUTE = Kind(gettext_lazy("minute"), 0, 59, {})
HOUR = Kind(gettext_lazy("hour"), 0, 23, {})
DAY = Kind(gettext_lazy("day of the month"), 1, 31, {})
MONTH = Kind(gettext_lazy("month"), 1, 12, MONTHS)
WEEKDAY = Kind(gettext_lazy("day of the week"), 0, 7, DAYS)

Nth = tuple[int, int]  # (weekday, which of the month or LAST)


@dataclass(frozen=True)
class Field:
    """What a field allows: plain values, and for weekdays the nth of a month."""

    text: str
    values: frozenset[int]
    nth: frozenset[Nth] = frozenset()

    @property
    def is_starred(self) -> bool:
        return self.text.startswith("*")


def read(text: str, kind: Kind) -> Field:
    """Raises BadField."""
    values: set[int] = set()
    nth: set[Nth] = set()
    for term in text.split(","):
        found = _term(term, kind, text)
        (nth if isinstance(found, tuple) else values).update([found] if isinstance(found, tuple) else found)
    if kind is WEEKDAY:
        values = {value % 7 for value in values}
    return Field(text, frozenset(values), frozenset(nth))


def _term(term: str, kind: Kind, text: str) -> frozenset[int] | Nth:
    _refuse_letters(term, kind, text)
    if kind is WEEKDAY and "#" in term:
        day, _hash, which = term.partition("#")
        if which not in {"1", "2", "3", "4", "5"}:
            raise _bad(kind, text, _("after '#' comes 1 to 5: which of the month's such days"))
        return _number(day, kind, text) % 7, int(which)
    if kind is WEEKDAY and term.endswith("L") and term != "L":
        return _number(term[:-1], kind, text) % 7, LAST
    if kind is DAY and term == "L":
        return frozenset({LAST})
    return _span(term, kind, text)


def _refuse_letters(term: str, kind: Kind, text: str) -> None:
    if kind is DAY and "W" in term:
        raise _bad(
            kind, text, _("'W' (the nearest working day) is not supported: it knows no holidays. Name weekdays instead")
        )
    if kind is DAY and term.startswith("L-"):
        raise _bad(kind, text, _("'L-n' is not supported. Use L for the last day, or a number"))
    if "?" in term:
        raise _bad(kind, text, _("'?' is not supported. Use * instead"))
    if term == "":
        raise _bad(kind, text, _("something is missing between commas"))


def _span(term: str, kind: Kind, text: str) -> frozenset[int]:
    span, slash, step_text = term.partition("/")
    step = 1
    if slash:
        if not step_text.isascii() or not step_text.isdecimal() or not 1 <= int(step_text[:4]) <= kind.high:
            raise _bad(kind, text, _("a step is a whole number from 1 to %(most)d") % {"most": kind.high})
        step = int(step_text[:4])
    high = 6 if kind is WEEKDAY else kind.high
    if span == "*":
        return frozenset(range(kind.low, high + 1, step))
    first_text, dash, last_text = span.partition("-")
    first = _number(first_text, kind, text)
    last = _number(last_text, kind, text) if dash else (high if slash else first)
    if last < first:
        raise _bad(kind, text, _("the range runs backwards. Write two ranges with a comma between them"))
    return frozenset(range(first, last + 1, step))


def _number(text: str, kind: Kind, whole: str) -> int:
    if text in kind.names:
        return kind.names[text]
    if not text.isascii() or not text.isdecimal() or not kind.low <= int(text[:6]) <= kind.high:
        wanted = _("%(low)d to %(high)d") % {"low": kind.low, "high": kind.high}
        if kind.names:
            wanted += _(" or %(first)s to %(last)s") % {"first": next(iter(kind.names)), "last": [*kind.names][-1]}
        raise _bad(kind, whole, _("'%(text)s' is not one of %(wanted)s") % {"text": text[:20], "wanted": wanted})
    return int(text)


def _bad(kind: Kind, text: str, why: str) -> BadField:
    what = {"field": kind.label, "text": text[:40], "why": why}
    return BadField(_("In the %(field)s field '%(text)s': %(why)s.") % what)
