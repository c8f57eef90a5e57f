"""What may stand behind `|`. Each takes JSON values and times and gives one; sizes stay bounded."""

import json
import posixpath
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo, available_timezones

from django.utils.translation import gettext as _

from .parsing import ExpressionError

MAX_TEXT = 64 * 1024  # characters of a text that an expression gives
MAX_ITEMS = 1000
# Without what C libraries add: a width ("%9999999d") would write gigabytes.
_DATE_FORM = re.compile(r"(?:[^%]|%[YmdHMSjVGuybBaApIzZ%]){0,100}", re.DOTALL)
_SHIFT = re.compile(r"([+-]?[0-9]{1,6})([wdhms])")
_UNITS = {"w": "weeks", "d": "days", "h": "hours", "m": "minutes", "s": "seconds"}


def as_text(value: Any) -> str:
    """How a value stands within a text."""
    match value:
        case str():
            text = value
        case datetime():
            text = value.isoformat().replace("+00:00", "Z")
        case None:
            text = ""
        case _:
            text = as_json(value)
    return _bounded(text)


def as_json(value: Any) -> str:
    return _bounded(json.dumps(plain(value), ensure_ascii=False))


def plain(value: Any) -> Any:
    """With times as text: what can be stored."""
    match value:
        case datetime():
            return as_text(value)
        case list():
            return [plain(item) for item in value]
        case dict():
            return {key: plain(item) for key, item in value.items()}
    return value


def _bounded(text: str) -> str:
    if len(text) > MAX_TEXT:
        raise ExpressionError(_("It gives a text of more than %(size)d KiB.") % {"size": MAX_TEXT // 1024})
    return text


def _moment(value: Any) -> datetime:
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            raise ExpressionError(_("This text is no time; write it as 2026-11-24T02:00:00Z.")) from None
        value = value if value.tzinfo else value.replace(tzinfo=UTC)
    if not isinstance(value, datetime):
        raise ExpressionError(_("This is no time. A run by hand has none: add | default(…)."))
    return value


def _date(value: Any, form: Any = "%Y-%m-%d") -> str:
    if not isinstance(form, str) or not _DATE_FORM.fullmatch(form):
        raise ExpressionError(_("A form of a date has parts like %Y-%m-%d %H:%M and at most 100 characters."))
    return _moment(value).strftime(form)


@lru_cache(maxsize=1)
def _zones() -> frozenset[str]:
    return frozenset(available_timezones())


def _local(value: Any, zone: Any) -> datetime:
    if not isinstance(zone, str) or zone not in _zones():  # Never a path: ZoneInfo reads files by name.
        raise ExpressionError(_("There is no time zone '%(zone)s'.") % {"zone": str(zone)[:60]})
    return _moment(value).astimezone(ZoneInfo(zone))


def _shift(value: Any, by: Any) -> datetime:
    match = _SHIFT.fullmatch(by) if isinstance(by, str) else None
    if match is None:
        raise ExpressionError(_('Write how far as "-1d" or "6h", with one of w, d, h, m, s.'))
    try:
        return _moment(value) + timedelta(**{_UNITS[match[2]]: int(match[1])})
    except OverflowError:
        raise ExpressionError(_("That time is out of reach.")) from None


def _listed(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise ExpressionError(_("This is no list."))
    return value


def _length(value: Any) -> int:
    if not isinstance(value, list | dict | str):
        raise ExpressionError(_("Only lists, objects and texts have a length."))
    return len(value)


def _range(value: Any) -> list[int]:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MAX_ITEMS:
        raise ExpressionError(_("A range has 0 to %(count)d numbers.") % {"count": MAX_ITEMS})
    return list(range(value))


def _whole(value: Any) -> int:
    try:
        if isinstance(value, str) and len(value) > 20:
            raise ValueError
        return int(value)
    except (TypeError, ValueError, OverflowError):
        raise ExpressionError(_("This is no whole number.")) from None


def _number(value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        raise ExpressionError(_("This is no number.")) from None
    if number - number != 0:  # infinite, or not a number
        raise ExpressionError(_("This is no number."))
    return number


def _join(value: Any, between: Any = ",") -> str:
    items = [as_text(item) for item in _listed(value)]
    if sum(map(len, items)) + len(as_text(between)) * len(items) > MAX_TEXT:
        raise ExpressionError(_("It gives a text of more than %(size)d KiB.") % {"size": MAX_TEXT // 1024})
    return as_text(between).join(items)


def _first(value: Any) -> Any:
    return _listed(value)[0] if _listed(value) else None


def _last(value: Any) -> Any:
    return _listed(value)[-1] if _listed(value) else None


# name -> (function, fewest arguments, most)
FILTERS: dict[str, tuple[Callable[..., Any], int, int]] = {
    "date": (_date, 0, 1),
    "local": (_local, 1, 1),
    "shift": (_shift, 1, 1),
    "default": (lambda value, other: other if value is None else value, 1, 1),
    "json": (as_json, 0, 0),
    "string": (as_text, 0, 0),
    "int": (_whole, 0, 0),
    "number": (_number, 0, 0),
    "lower": (lambda value: as_text(value).lower(), 0, 0),
    "upper": (lambda value: as_text(value).upper(), 0, 0),
    "basename": (lambda value: posixpath.basename(as_text(value)), 0, 0),
    "length": (_length, 0, 0),
    "first": (_first, 0, 0),
    "last": (_last, 0, 0),
    "join": (_join, 0, 1),
    "range": (_range, 0, 0),
}
