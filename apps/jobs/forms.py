"""The part of the submit form that every template shares; parameters have a form of their own, made from the schema."""

import re
import uuid as uuids
from collections.abc import Iterable
from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext_lazy

from apps.clusters.models import Cluster, ResourceGroup
from apps.clusters.quantities import DEFAULTS
from apps.clusters.selectors import default_cluster, usable_clusters
from apps.core.errors import InvalidInput

from .models import Job, name_validator


class JobForm(forms.Form):
    """Name, place and size of a job. `asked()` gives the arguments of `services.submit_job`."""

    uid = forms.UUIDField(widget=forms.HiddenInput)  # sent twice, it is one job
    name = forms.CharField(
        label=_("Name"), max_length=63, validators=[name_validator],
        help_text=_("Lower-case letters, digits and '-'."),
        widget=forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false"}),
    )  # fmt: skip
    cpu = forms.CharField(
        label=_("CPU"),
        max_length=40,
        help_text=_('Cores: "2", or reserved~limit as in "500m~2".'),
        initial=DEFAULTS["cpu"],
    )
    memory = forms.CharField(
        label=_("Memory"), max_length=40, help_text=_('"4Gi", or reserved~limit as in "512Mi~2Gi".'),
        initial=DEFAULTS["memory"],
    )  # fmt: skip
    gpu = forms.CharField(
        label=_("GPU"), max_length=80, help_text=_('A number of cards, with their type if it matters: "1", "2(A100)".'),
        initial=DEFAULTS["gpu"],
    )  # fmt: skip
    cluster = forms.ModelChoiceField(
        label=_("Cluster"), queryset=Cluster.objects.none(), to_field_name="slug", empty_label=None
    )
    resource_group = forms.ModelChoiceField(
        label=_("Resource group"), queryset=ResourceGroup.objects.none(), required=False, empty_label=_("Any node")
    )
    priority = forms.IntegerField(
        label=_("Priority"), min_value=-100, max_value=100, initial=0, help_text=_("Higher goes first; 0 is normal.")
    )
    max_retries = forms.IntegerField(
        label=_("Retries"), min_value=0, max_value=10, initial=0, help_text=_("How often to try again after a failure.")
    )
    time_limit_minutes = forms.IntegerField(
        label=_("Time limit (minutes)"), min_value=1, required=False, help_text=_("Empty: no limit.")
    )

    PLACES = {
        "resources.cpu": "cpu",
        "resources.memory": "memory",
        "resources.gpu": "gpu",
        "time_limit_seconds": "time_limit_minutes",
    }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        clusters = usable_clusters()
        self.fields["cluster"].queryset = clusters
        self.fields["resource_group"].queryset = ResourceGroup.objects.filter(cluster__in=clusters).select_related(
            "cluster"
        )
        self.initial.setdefault("uid", uuids.uuid4())
        if "cluster" not in self.initial and (default := default_cluster()):
            self.initial["cluster"] = default.slug

    @property
    def advanced_errors(self) -> bool:
        """Whether a folded field is wrong, so that the form unfolds it."""
        return any(
            name in self.errors
            for name in ("cluster", "resource_group", "priority", "max_retries", "time_limit_minutes")
        )

    def asked(self) -> dict[str, Any]:
        data = self.cleaned_data
        minutes = data["time_limit_minutes"]
        return {
            "uid": data["uid"],
            "name": data["name"],
            "resources": {key: data[key] for key in DEFAULTS},
            "cluster": data["cluster"],
            "resource_group": data["resource_group"],
            "priority": data["priority"],
            "max_retries": data["max_retries"],
            "time_limit_seconds": minutes * 60 if minutes else None,
        }

    def take_errors(self, refusal: InvalidInput) -> None:
        """Show a service's refusal beside the fields it names."""
        for path, errors in refusal.fields.items():
            field = self.PLACES.get(path, path)
            self.add_error(field if field in self.fields else None, errors)


def initial_from(job: Job) -> dict[str, Any]:
    """What a clone starts from: everything but the identity."""
    return {
        "name": next_name(job.name),
        "cluster": job.cluster.slug,
        "resource_group": job.resource_group_id,
        "priority": job.priority,
        "max_retries": job.max_retries,
        "time_limit_minutes": job.time_limit_seconds // 60 if job.time_limit_seconds else None,
        **job.resources,
    }


def first_name(slug: str, taken: Iterable[str]) -> str:
    """`python-1`, or one more than the highest that is taken."""
    numbers = [
        int(name.removeprefix(f"{slug}-")) for name in taken if re.fullmatch(rf"{re.escape(slug)}-\d{{1,6}}", name)
    ]
    return f"{slug}-{max(numbers, default=0) + 1}"


def next_name(name: str) -> str:
    """`train` -> `train-2`, `train-2` -> `train-3`; never longer than a name may be."""
    match = re.fullmatch(r"(.*)-(\d{1,6})", name)
    stem, number = (match[1], int(match[2]) + 1) if match else (name, 2)
    suffix = f"-{number}"
    return stem[: 63 - len(suffix)] + suffix


class DebugForm(forms.Form):
    """How long a debug session may last."""

    hours = forms.TypedChoiceField(
        label=_("It lasts"),
        coerce=int,
        initial=1,
        choices=[(hours, ngettext_lazy("%d hour", "%d hours") % hours) for hours in (1, 2, 4, 8)],
    )

    def seconds(self) -> int:
        return int(self.cleaned_data["hours"]) * 3600
