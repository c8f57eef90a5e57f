"""The forms of channels, rules and snoozes. They translate; the services are the judges."""

from datetime import timedelta
from typing import Any

from django import forms
from django.db.models import QuerySet
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from apps.pipelines.models import Pipeline
from apps.schedules.models import Schedule

from .choices import ChannelKind
from .models import NOTE_LENGTH, Channel, Rule

QUIET = {"autocomplete": "off", "spellcheck": "false"}
SPANS = [
    (1, _("1 hour")),
    (4, _("4 hours")),
    (12, _("12 hours")),
    (24, _("1 day")),
    (72, _("3 days")),
    (168, _("1 week")),
]


class ChannelForm(forms.Form):
    name = forms.CharField(label=_("Name"), max_length=100)
    is_enabled = forms.BooleanField(label=_("Switched on"), required=False, initial=True)

    def asked(self) -> dict[str, Any]:
        """What the service is asked for: a secret that is left empty stays as it is."""
        secret = {"url", "signing_secret"}
        return {name: value for name, value in self.cleaned_data.items() if value or name not in secret}


class EmailForm(ChannelForm):
    addresses = forms.CharField(
        label=_("Addresses"),
        max_length=5000,
        widget=forms.Textarea(attrs={"rows": 3, **QUIET}),
        help_text=_("One a line, or with commas; at most 20."),
    )
    field_order = ["name", "addresses", "is_enabled"]

    def clean_addresses(self) -> list[str]:
        lines: str = self.cleaned_data["addresses"].replace(",", "\n")
        return [line.strip() for line in lines.splitlines() if line.strip()]


class WebhookForm(ChannelForm):
    url = forms.CharField(
        label=_("Address"),
        max_length=2000,
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password", "placeholder": "https://…"}),
        help_text=_("It is kept encrypted and not shown again."),
    )
    signing_secret = forms.CharField(
        label=_("Signing secret"),
        max_length=500,
        required=False,
        strip=False,
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
        help_text=_("Signs each message (HMAC-SHA256), so that the other side knows it is from here."),
    )
    field_order = ["name", "url", "signing_secret", "is_enabled"]


def channel_form(kind: str, data: Any = None, channel: Channel | None = None) -> ChannelForm:
    """For a new channel of this kind, or for one there is: then secrets may stay empty."""
    initial = None
    if channel is not None:
        initial = {"name": channel.name, "is_enabled": channel.is_enabled, "addresses": "\n".join(channel.addresses)}
    form = (WebhookForm if kind == ChannelKind.WEBHOOK else EmailForm)(data, initial=initial)
    if channel is not None and "url" in form.fields:
        form.fields["url"].required = False
        form.fields["url"].help_text = _("Leave it empty to keep the address there is.")
        form.fields["signing_secret"].help_text = _("Leave it empty to keep the secret there is.")
    return form


class NameField(forms.ModelChoiceField):
    """By their names alone: all are of one project."""

    def label_from_instance(self, row: Any) -> str:
        return str(row.name)


class NamesField(forms.ModelMultipleChoiceField):
    def label_from_instance(self, row: Any) -> str:
        return str(row.name)


class RuleForm(forms.Form):
    name = forms.CharField(label=_("Name"), max_length=100)
    pipeline = NameField(
        label=_("Pipeline"),
        queryset=Pipeline.objects.none(),
        required=False,
        empty_label=_("All of the project"),
        help_text=_("With its schedules."),
    )
    schedule = NameField(
        label=_("Or one schedule"), queryset=Schedule.objects.none(), required=False, empty_label=_("None")
    )
    on_failure = forms.BooleanField(label=_("Failure"), required=False, initial=True)
    on_lateness = forms.BooleanField(
        label=_("Lateness: a time of a schedule that is not done by its deadline"), required=False, initial=True
    )
    on_pause = forms.BooleanField(label=_("A schedule that paused itself"), required=False, initial=True)
    tells_recovery = forms.BooleanField(label=_("Tell of recovery too"), required=False, initial=True)
    channels = NamesField(
        label=_("Channels"),
        queryset=Channel.objects.none(),
        required=False,
        widget=forms.CheckboxSelectMultiple,
        help_text=_("Without any, incidents are kept on this page and nobody is told."),
    )
    is_enabled = forms.BooleanField(label=_("Switched on"), required=False, initial=True)

    def __init__(self, data: Any, *, choices: dict[str, QuerySet[Any]], rule: Rule | None = None) -> None:
        super().__init__(data, initial=_values(rule) if rule else None)
        for name, rows in choices.items():
            field = self.fields[name]
            assert isinstance(field, forms.ModelChoiceField)  # noqa: S101  # tells the type checker
            field.queryset = rows


def _values(rule: Rule) -> dict[str, Any]:
    plain = ("name", "on_failure", "on_lateness", "on_pause", "tells_recovery", "is_enabled")
    about = {"pipeline": rule.pipeline_id, "schedule": rule.schedule_id}
    return {**{name: getattr(rule, name) for name in plain}, **about, "channels": list(rule.channels.all())}


class SnoozeForm(forms.Form):
    hours = forms.TypedChoiceField(label=_("How long"), choices=SPANS, coerce=int)
    note = forms.CharField(label=_("Note"), max_length=NOTE_LENGTH, required=False)

    def asked(self) -> dict[str, Any]:
        until = timezone.now() + timedelta(hours=self.cleaned_data["hours"])
        return {"until": until, "note": self.cleaned_data["note"]}


class CloseForm(forms.Form):
    note = forms.CharField(label=_("Note"), max_length=NOTE_LENGTH, required=False)

    def asked(self) -> dict[str, Any]:
        return {"note": self.cleaned_data["note"]}
