from datetime import UTC, datetime

from django import template

register = template.Library()


@register.filter
def moment(seconds: int) -> datetime | None:
    """Unix seconds as a time; None for a value no calendar holds (the listing comes from a tenant's pod)."""
    try:
        return datetime.fromtimestamp(seconds, tz=UTC)
    except (OverflowError, OSError, ValueError):
        return None
