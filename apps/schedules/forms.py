"""The forms of schedules and backfills. They translate; the services are the judges."""

import json
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from django import forms
from django.utils.dateparse import parse_datetime
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from apps.core.errors import InvalidInput
from apps.jobtemplates.documents import read_document
from apps.pipelines.models import Pipeline

from . import choices
from .durations import SpanField
from .models import Schedule
from .timetables.rules import zone_names

PLAIN = (
    "name", "kind", "cron", "interval_seconds", "zone", "fold", "start_at", "end_at", "jitter_seconds", "params",
    "priority", "catch_up", "catch_up_limit", "catch_up_window_seconds", "max_active_runs", "overlap",
    "depends_on_past", "past_allows_missed", "past_allows_stopped", "wait_seconds", "keep_newest", "run_retries",
    "run_retry_delay_seconds", "deadline_seconds", "pause_after_failures",
)  # fmt: skip


class WallTimeField(forms.Field):
    """A date and time without a zone, as a clock on the wall reads; the form knows in which zone."""

    widget = forms.DateTimeInput(attrs={"type": "datetime-local", "step": "1"}, format="%Y-%m-%dT%H:%M:%S")

    def to_python(self, value: Any) -> datetime | None:
        if not value:
            return None
        try:
            found = parse_datetime(str(value))
        except ValueError:
            found = None
        if found is None or found.tzinfo is not None or found.year < 1970 or found.year > 2200:
            raise forms.ValidationError(_("Write a date and a time, as 2026-11-25 02:30."))
        return found


class ParamsField(forms.CharField):
    """Parameters as YAML or JSON."""

    widget = forms.Textarea(attrs={"rows": 4, "data-code": "yaml", "spellcheck": "false"})

    def prepare_value(self, value: Any) -> Any:
        return json.dumps(value, indent=2) if isinstance(value, dict) and value else value or ""

    def clean(self, value: Any) -> Any:
        text = super().clean(value)
        if not text.strip():
            return {}
        try:
            found = read_document(text, at="params")
        except InvalidInput as refusal:
            raise forms.ValidationError([error for errors in refusal.fields.values() for error in errors]) from None
        if not isinstance(found, dict):
            raise forms.ValidationError(_("Write parameters as 'name: value', one a line."))
        return found


def _number(label: Any, low: int, high: int, help_text: Any = "", **more: Any) -> forms.IntegerField:
    return forms.IntegerField(label=label, min_value=low, max_value=high, help_text=help_text, **more)


def _span(label: Any, help_text: Any = "") -> SpanField:
    return SpanField(label=label, required=False, help_text=help_text)


class PipelineField(forms.ModelChoiceField):
    """By their names alone: all are of one project."""

    def label_from_instance(self, pipeline: Any) -> str:
        return str(pipeline.name)


class Pipelines(forms.ModelMultipleChoiceField):
    def label_from_instance(self, pipeline: Any) -> str:
        return str(pipeline.name)


class ScheduleForm(forms.Form):
    """`asked()` gives the arguments of `services.create_schedule`; an instance fills the form in."""

    name = forms.CharField(label=gettext_lazy("Name"), max_length=100)
    pipeline = PipelineField(label=gettext_lazy("Pipeline"), queryset=Pipeline.objects.none())
    kind = forms.ChoiceField(label=gettext_lazy("Runs"), choices=choices.Kind.choices, widget=forms.RadioSelect)
    cron = forms.CharField(
        label=gettext_lazy("Cron line"),
        max_length=200,
        required=False,
        help_text=gettext_lazy("Minute, hour, day of the month, month, day of the week: 30 2 * * MON-FRI, or @daily."),
        widget=forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false", "class": "mono"}),
    )
    interval_seconds = _span(gettext_lazy("Every"), gettext_lazy("Real time from the start on: 90s, 15m, 6h, 1d."))
    after = Pipelines(
        label=gettext_lazy("After these pipelines"), required=False, queryset=Pipeline.objects.none(),
        widget=forms.CheckboxSelectMultiple,
        help_text=gettext_lazy("Of several, each has to succeed for the same logical time."),
    )  # fmt: skip
    zone = forms.CharField(
        label=gettext_lazy("Time zone"),
        max_length=64,
        widget=forms.TextInput(attrs={"list": "zones", "autocomplete": "off", "spellcheck": "false"}),
    )
    fold = forms.ChoiceField(
        label=gettext_lazy("Of a time that comes twice"),
        choices=choices.FoldChoice.choices,
        help_text=gettext_lazy("When clocks are set back. A time that clocks skip runs right after the gap."),
    )
    start_at = WallTimeField(label=gettext_lazy("Not before"), required=False)
    end_at = WallTimeField(label=gettext_lazy("Not after"), required=False)
    jitter_seconds = _span(
        gettext_lazy("Spread"), gettext_lazy("Starts up to this much later, always by the same amount.")
    )
    params = ParamsField(label=gettext_lazy("Parameters"), required=False, help_text=gettext_lazy("YAML or JSON."))
    priority = _number(gettext_lazy("Priority"), -100, 100, gettext_lazy("Higher goes first; 0 is normal."))
    catch_up = forms.ChoiceField(label=gettext_lazy("Missed times"), choices=choices.CatchUp.choices)
    catch_up_window_seconds = _span(gettext_lazy("Missed since at most"))
    catch_up_limit = _number(gettext_lazy("At most so many"), 1, 1000)
    overlap = forms.ChoiceField(label=gettext_lazy("When the cap is reached"), choices=choices.Overlap.choices)
    max_active_runs = _number(gettext_lazy("Active runs at most"), 1, 1000)
    keep_newest = _number(
        gettext_lazy("Keep the newest"), 1, 10_000, gettext_lazy("Older times that have not ended are given up."),
        required=False,
    )  # fmt: skip
    depends_on_past = forms.ChoiceField(label=gettext_lazy("Starts when"), choices=choices.Past.choices)
    past_allows_missed = forms.BooleanField(label=gettext_lazy("A missed time counts as success"), required=False)
    past_allows_stopped = forms.BooleanField(label=gettext_lazy("A stopped run counts as success"), required=False)
    waits_for = Pipelines(
        label=gettext_lazy("Waits for these pipelines"), required=False, queryset=Pipeline.objects.none(),
        widget=forms.CheckboxSelectMultiple,
        help_text=gettext_lazy("Each has to have succeeded for the same logical time."),
    )  # fmt: skip
    wait_seconds = _span(gettext_lazy("Gives up after"), gettext_lazy("Empty: waits as long as it takes."))
    run_retries = _number(gettext_lazy("Retries of a whole run"), 0, 20)
    run_retry_delay_seconds = _span(gettext_lazy("First retry after"), gettext_lazy("It doubles with each."))
    deadline_seconds = _span(gettext_lazy("Deadline"), gettext_lazy("A time not done by then is marked late."))
    pause_after_failures = _number(
        gettext_lazy("Pause after failures in a row"), 0, 1000, gettext_lazy("0: never by itself.")
    )

    def __init__(self, *args: Any, pipelines: Any, instance: Schedule | None = None, **kwargs: Any) -> None:
        initial = kwargs.pop("initial", None) or _initial(instance or Schedule())
        super().__init__(*args, initial=initial, **kwargs)
        for name in ("pipeline", "after", "waits_for"):
            self.fields[name].queryset = pipelines

    @property
    def zones(self) -> list[str]:
        """To choose from; without the old aliases that have no continent."""
        return sorted(name for name in zone_names() if "/" in name or name == "UTC")

    def clean(self) -> dict[str, Any]:
        """Wall times are of the zone that was chosen with them."""
        data = super().clean() or {}
        zone = data.get("zone")
        if zone not in zone_names():
            return data  # The service says what is wrong with it.
        for name in ("start_at", "end_at"):
            if data.get(name):
                data[name] = data[name].replace(tzinfo=ZoneInfo(zone))
        return data

    def asked(self) -> dict[str, Any]:
        data = {name: self.cleaned_data[name] for name in PLAIN}
        for name in ("jitter_seconds", "catch_up_window_seconds", "run_retry_delay_seconds"):
            data[name] = data[name] or 0
        data["pipeline"] = self.cleaned_data["pipeline"]
        is_after = data["kind"] == choices.Kind.AFTER
        data["after"] = list(self.cleaned_data["after"]) if is_after else []
        data["waits_for"] = list(self.cleaned_data["waits_for"])
        return data


def _initial(schedule: Schedule) -> dict[str, Any]:
    values: dict[str, Any] = {name: getattr(schedule, name) for name in PLAIN}
    for name in ("start_at", "end_at"):
        if values[name]:
            values[name] = values[name].astimezone(ZoneInfo(schedule.zone)).replace(tzinfo=None)
    values["pipeline"] = schedule.pipeline_id
    if schedule.pk:
        values["after"] = [pipeline.pk for pipeline in schedule.after.all()]
        values["waits_for"] = [pipeline.pk for pipeline in schedule.waits_for.all()]
    return values


class BackfillForm(forms.Form):
    from_at = WallTimeField(label=gettext_lazy("From"))
    to_at = WallTimeField(label=gettext_lazy("To"))
    order = forms.ChoiceField(label=gettext_lazy("Order"), choices=choices.Order.choices)
    reprocess = forms.ChoiceField(label=gettext_lazy("Times that have a slot"), choices=choices.Reprocess.choices)
    max_active_runs = _number(
        gettext_lazy("Active runs at most"), 1, 1000, gettext_lazy("Of this backfill; live runs are not counted.")
    )
    params = ParamsField(
        label=gettext_lazy("Parameters"), required=False, help_text=gettext_lazy("Instead of the schedule's.")
    )

    def __init__(self, *args: Any, zone: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.zone = ZoneInfo(zone)
        self.initial = {"order": "up", "reprocess": "none", "max_active_runs": 2, **self.initial}

    def asked(self) -> dict[str, Any]:
        data = dict(self.cleaned_data)
        return {**data, **{name: data[name].replace(tzinfo=self.zone) for name in ("from_at", "to_at")}}
