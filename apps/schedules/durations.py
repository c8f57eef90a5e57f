"""Spans of time as people write them: `90s`, `15m`, `6h`, `1d`, or several as `1h 30m`."""

import re
from typing import Any

from django import forms
from django.utils.translation import gettext as _

UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
PART = re.compile(r"([0-9]{1,9})\s*([smhd]?)", re.ASCII)
WRITTEN = re.compile(r"(?:[0-9]{1,9}\s*[smhd]?\s*)+", re.ASCII)


def read_seconds(text: str) -> int | None:
    """None for what is no span. A bare number counts seconds."""
    text = text.strip().lower()
    if not WRITTEN.fullmatch(text):
        return None
    return sum(int(number) * UNITS[unit or "s"] for number, unit in PART.findall(text))


def write_seconds(seconds: int) -> str:
    """The shortest way to write it: `90s`, `2h`, `1d 12h`."""
    parts, rest = [], seconds
    for unit in "dhms":
        number, rest = divmod(rest, UNITS[unit])
        if number:
            parts.append(f"{number}{unit}")
    return " ".join(parts) or "0s"


class SpanField(forms.CharField):
    """Seconds, written as a span."""

    def __init__(self, **more: Any) -> None:
        super().__init__(max_length=40, **more)
        self.widget.attrs.update(autocomplete="off", spellcheck="false")

    def prepare_value(self, value: Any) -> Any:
        return write_seconds(value) if isinstance(value, int) else value

    def clean(self, value: Any) -> Any:
        text = super().clean(value)
        if not text:
            return None
        seconds = read_seconds(text)
        if seconds is None:
            raise forms.ValidationError(_("Write a span such as 90s, 15m, 6h or 1d."))
        return seconds
