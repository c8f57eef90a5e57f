from django import template

register = template.Library()


@register.filter
def duration(seconds: int | None) -> str:
    """`252` -> `4m 12s`. The page's script ticks the same form."""
    if seconds is None:
        return "\u2013"
    hours, rest = divmod(int(seconds), 3600)
    minutes, left = divmod(rest, 60)
    if hours:
        return f"{hours}h {minutes:02}m"
    return f"{minutes}m {left:02}s" if minutes else f"{left}s"
