"""The form of the search page."""

from datetime import UTC, datetime, timedelta
from typing import Any

from django import forms
from django.utils import timezone
from django.utils.translation import gettext as _t
from django.utils.translation import gettext_lazy as _

from apps.jobs.choices import JobStatus
from apps.jobtemplates.selectors import enabled_templates

from .needle import LONGEST, BadNeedle, Needle
from .searching import EVER, NEVER

PERIODS = {
    "1h": timedelta(hours=1),
    "24h": timedelta(hours=24),
    "7d": timedelta(days=7),
    "30d": timedelta(days=30),
}
LOCAL_TIME = "%Y-%m-%dT%H:%M"


def stamp_of(moment: datetime) -> bytes:
    """A time as the stamps of stored lines are written."""
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%S}.000000000Z".encode()


class SearchForm(forms.Form):
    """What to look for, when, and in which jobs."""

    DAY = "24h"
    q = forms.CharField(
        label=_("Look for"),
        max_length=LONGEST,
        strip=False,
        widget=forms.TextInput(attrs={"type": "search", "autocomplete": "off", "spellcheck": "false"}),
    )
    regex = forms.BooleanField(label=_("Regular expression"), required=False)
    case = forms.BooleanField(label=_("Match case"), required=False)
    period = forms.ChoiceField(
        label=_("Period"),
        required=False,
        choices=[
            ("1h", _("Last hour")),
            ("24h", _("Last 24 hours")),
            ("7d", _("Last 7 days")),
            ("30d", _("Last 30 days")),
            ("all", _("Any time")),
            ("custom", _("From … to …")),
        ],
    )
    since = forms.DateTimeField(label=_("From"), required=False, input_formats=[LOCAL_TIME])
    until = forms.DateTimeField(label=_("To"), required=False, input_formats=[LOCAL_TIME])
    status = forms.ChoiceField(label=_("Status"), required=False, choices=[("", _("Any status")), *JobStatus.choices])
    template = forms.ChoiceField(label=_("Template"), required=False)
    job = forms.UUIDField(required=False, widget=forms.HiddenInput)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        templates = [(template.slug, template.name) for template in enabled_templates()]
        self.fields["template"].choices = [("", _("Any template")), *templates]  # type: ignore[attr-defined]
        for name in ("since", "until"):
            self.fields[name].widget = forms.DateTimeInput(attrs={"type": "datetime-local"}, format=LOCAL_TIME)

    @property
    def narrowing(self) -> list[forms.BoundField]:
        return [self["period"], self["status"], self["template"]]

    @property
    def times(self) -> list[forms.BoundField]:
        return [self["since"], self["until"]]

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or {}
        if cleaned.get("q"):
            try:
                cleaned["needle"] = Needle(cleaned["q"], regex=cleaned["regex"], case=cleaned["case"])
            except BadNeedle as refusal:
                self.add_error("q", str(refusal))
        since, until = cleaned.get("since"), cleaned.get("until")
        if since and until and since >= until:
            self.add_error("until", _t("This lies before the beginning."))
        return cleaned

    def span(self) -> tuple[bytes, bytes]:
        """[since, until) as stamps."""
        asked = self.cleaned_data
        match asked["period"] or self.DAY:
            case "all":
                return EVER, NEVER
            case "custom":
                since, until = asked["since"], asked["until"]
                return (stamp_of(since) if since else EVER, stamp_of(until) if until else NEVER)
            case period:
                return stamp_of(timezone.now() - PERIODS[period]), NEVER
