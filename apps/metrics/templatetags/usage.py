"""Amounts as people read them. The page's script writes the same forms."""

from django import template
from django.utils.translation import gettext as _

from apps.metrics.choices import Unit

register = template.Library()
STEP = 1024
NAMES = ("B", "KiB", "MiB", "GiB", "TiB")


@register.filter
def amount(number: float, unit: str) -> str:
    """`320` millicores -> `0.32 cores`; `203423744` bytes -> `194 MiB`. Three digits that count."""
    return _cores(number / 1000) if unit == Unit.CORES else _bytes(number)


def _cores(number: float) -> str:
    shown = _short(number)
    return _("1 core") if shown == "1" else _("%(n)s cores") % {"n": shown}


def _bytes(number: float) -> str:
    power = 0
    while number >= STEP - 0.5 and power < len(NAMES) - 1:
        number, power = number / STEP, power + 1
    return f"{_short(number)} {NAMES[power]}"


def _short(number: float) -> str:
    """Never as a power of ten: 1234 stays 1234."""
    return f"{number:.0f}" if number >= 100 else f"{number:.3g}"


@register.filter
def unit_at(place: int) -> Unit:
    """The unit of the chart at that place."""
    return list(Unit)[place]
