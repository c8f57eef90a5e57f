"""Moments as the wall clock of a schedule's zone reads."""

from datetime import datetime
from zoneinfo import ZoneInfo

from django import template

from apps.schedules.durations import write_seconds

register = template.Library()


@register.filter
def wall(moment: datetime | None, zone: ZoneInfo | str) -> str:
    """`Wed 25 Nov 2026, 02:30`; with seconds where there are any, and the offset, as a time may come twice."""
    if moment is None:
        return "–"  # noqa: RUF001  a dash, as in every table
    local = moment.astimezone(ZoneInfo(zone) if isinstance(zone, str) else zone)
    clock = "%H:%M:%S" if local.second else "%H:%M"
    return local.strftime(f"%a %d %b %Y, {clock}")


@register.filter
def offset(moment: datetime, zone: ZoneInfo | str) -> str:
    local = moment.astimezone(ZoneInfo(zone) if isinstance(zone, str) else zone)
    text = local.strftime("%z")
    return f"UTC{text[:3]}:{text[3:5]}"


@register.filter
def span(seconds: int | None) -> str:
    return "–" if seconds is None else write_seconds(seconds)  # noqa: RUF001
