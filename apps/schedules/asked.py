"""What people wrote into an address or a form that is half filled in, read without complaint."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from django.core.exceptions import ValidationError
from django.utils.dateparse import parse_date, parse_datetime
from django.utils.translation import gettext as _

from apps.core.errors import InvalidInput

from .durations import read_seconds
from .timetables import zone_named
from .timetables.intervals import LONGEST_SECONDS, SHORTEST_SECONDS


def midnight(text: str, zone: ZoneInfo) -> datetime | None:
    """The beginning of a day written as `2026-11-25`; None for anything else."""
    try:
        day = parse_date(text)
    except ValueError:
        return None
    return datetime(day.year, day.month, day.day, tzinfo=zone) if day and 1971 <= day.year <= 2199 else None


def moment(text: str) -> datetime | None:
    """An aware moment from an address, where '+' may have become a blank; None for anything else."""
    try:
        found = parse_datetime(text.replace(" ", "+"))
    except ValueError:
        return None
    return found if found and found.tzinfo and 1971 <= found.year <= 2199 else None


def uid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None


def timetable(given: Mapping[str, Any], wall: Any) -> dict[str, Any]:
    """The timetable in a form that is being written. `wall` is the field that reads wall times.

    Raises InvalidInput for an interval that is none; the rest is judged by whoever uses it.
    """
    asked: dict[str, Any] = {name: given.get(name, "")[:300] for name in ("kind", "cron", "zone", "fold")}
    span = read_seconds(given.get("interval_seconds", "")[:40])
    if asked["kind"] == "interval" and (span is None or not SHORTEST_SECONDS <= span <= LONGEST_SECONDS):
        raise InvalidInput({"interval_seconds": _("Write a span from 10s to 366d, such as 90s, 15m or 6h.")})
    for name in ("start_at", "end_at"):
        try:
            naive = wall.clean(given.get(name, ""))
            asked[name] = naive.replace(tzinfo=zone_named(asked["zone"])) if naive else None
        except (ValidationError, InvalidInput):  # Half typed: the form says so when it is sent.
            asked[name] = None
    if asked["fold"] not in {"first", "second", "both"}:
        asked["fold"] = "first"
    return {**asked, "interval_seconds": span}
