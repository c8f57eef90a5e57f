from datetime import UTC, datetime, timedelta

from django import template
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.timesince import timesince
from django.utils.translation import gettext as _

register = template.Library()


@register.simple_tag
def moment(at: datetime | None) -> str:
    """A time as `<time data-relative>`: UTC to the minute, which the page's script turns into "3 minutes ago"."""
    if at is None:
        return SafeString('<span class="faint">\u2013</span>')
    utc = at.astimezone(UTC)
    iso, text = utc.isoformat(timespec="seconds"), utc.strftime("%Y-%m-%d %H:%M")
    return format_html('<time datetime="{}" data-relative>{}</time>', iso, text)


@register.filter
def ago(at: datetime | None) -> str:
    """The same in words, for pages that have no such script."""
    if at is None:
        return "\u2013"
    if timezone.now() - at < timedelta(minutes=1):
        return _("just now")
    return _("%(time)s ago") % {"time": timesince(at)}
