"""Forms of pipelines. The panel of a task is two: what every task has (`TaskForm`), and its template's parameters.

Both only translate between the document and a browser; what a value means is judged with the whole graph.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

from apps.clusters.models import Cluster
from apps.core.errors import DomainError
from apps.core.forms import take_errors
from apps.jobtemplates.forms import PREFIX, ParamForm, form_for
from apps.jobtemplates.models import TemplateVersion
from apps.jobtemplates.params import Kind, Param, params_of, same

from .choices import Trigger
from .models import name_validator

EXPRESSION = "{{"
# A text takes expressions as it is, code and secrets take none; any other control is exchanged for a text.
WITHOUT_SWITCH = frozenset({Kind.TEXT, Kind.IMAGE, Kind.PATH, Kind.ENV, Kind.SECRET_ENV, Kind.CODE, Kind.SECRET})
RETRIES = ("count", "delay_seconds", "factor", "cap_seconds", "fatal_exit_codes")
RESOURCES = ("cpu", "memory", "gpu")
MAX_FILE_BYTES = 512 * 1024
PLAIN = {"autocomplete": "off", "spellcheck": "false"}
MONO = {**PLAIN, "class": "mono"}
Choices = Iterable[tuple[str, Any]]


class PipelineForm(forms.Form):
    """A new pipeline, or what people read about one."""

    name = forms.CharField(label=_("Name"), max_length=100, validators=[name_validator])
    description = forms.CharField(
        label=_("Description"), max_length=5000, required=False, widget=forms.Textarea({"rows": 3})
    )

    def take_errors(self, refusal: DomainError) -> None:
        take_errors(self, refusal)


class NewPipelineForm(PipelineForm):
    file = forms.FileField(
        label=_("YAML file"),
        required=False,
        help_text=_("Exported from a pipeline, or written by hand. Without one you begin with an empty drawing."),
    )

    def clean_file(self) -> str:
        """The text of the file; empty without one."""
        file = self.cleaned_data.get("file")
        if not file:
            return ""
        if file.size > MAX_FILE_BYTES:
            raise forms.ValidationError(
                _("The file is too large: at most %(size)d KiB.") % {"size": MAX_FILE_BYTES // 1024}
            )
        try:
            return str(file.read().decode())
        except UnicodeDecodeError:
            raise forms.ValidationError(_("This is no text file: choose one in YAML, encoded as UTF-8.")) from None

    def take_errors(self, refusal: DomainError) -> None:
        """A document's paths (`tasks.train.params.code`) stand at the file they come from."""
        for path, messages in getattr(refusal, "fields", {}).items():
            known = path if path in self.fields else "file"
            for message in messages:
                self.add_error(known, message if known == path else f"{path}: {message}")


def _number(label: Any, help_text: Any = "", **attrs: Any) -> forms.CharField:
    """Read as text, so that a person's half-typed number reaches the judge as it is."""
    widget = forms.NumberInput({"min": 0, "step": 1, **attrs})
    return forms.CharField(label=label, required=False, widget=widget, help_text=help_text)


def _text(label: Any, help_text: Any = "", **attrs: Any) -> forms.CharField:
    return forms.CharField(label=label, required=False, widget=forms.TextInput(attrs or PLAIN), help_text=help_text)


class TaskForm(forms.Form):
    """What every task has beside its parameters; a field's name is its path with '_' for '.'."""

    template = forms.CharField(label=_("Template"), widget=forms.Select)
    title = _text(_("Title"), maxlength=100, autocomplete="off")
    trigger = forms.CharField(label=_("Starts when"), required=False, widget=forms.Select(choices=Trigger.choices))
    when = _text(
        _("Only if"),
        _('An expression, such as params.kind == "full". What is false, null, 0 or empty skips it.'),
        **MONO,
    )
    for_each = _text(
        _("For each of"), _("A list or an expression: params.seeds, or [1, 2, 3]. It runs once per item."), **MONO
    )
    skip = forms.BooleanField(label=_("Switched off: what needs it goes on without it"), required=False)
    retries_count = _number(_("Retries"), _("How often to try again after a failure."), max=10)
    retries_delay_seconds = _number(_("First wait (seconds)"), max=86_400)
    retries_factor = _number(_("Grows by"), _("Each wait is so many times the one before."), step="any", min=1, max=10)
    retries_cap_seconds = _number(_("Longest wait (seconds)"))
    retries_fatal_exit_codes = _text(_("Never again after exit codes"), _("Such as 2, 64."), **MONO)
    timeout_seconds = _number(_("Time limit (seconds)"), _("Of each try. Empty: no limit."), min=1)
    resources_cpu = _text(_("CPU"), _('Cores: "2", or reserved~limit as in "500m~2".'), **MONO)
    resources_memory = _text(_("Memory"), _('"4Gi", or reserved~limit as in "512Mi~2Gi".'), **MONO)
    resources_gpu = _text(_("GPU"), _('A number of cards, with their type if it matters: "1", "2(A100)".'), **MONO)
    cluster = forms.CharField(label=_("Cluster"), required=False, widget=forms.Select)
    resource_group = forms.CharField(label=_("Resource group"), required=False, widget=forms.Select)
    priority = _number(_("Priority"), _("Added to the run's; higher goes first."), min=-100, max=100)

    def __init__(self, *args: Any, templates: Choices = (), clusters: Iterable[Cluster] = (), **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["template"].widget.choices = list(templates)
        known = list(clusters)
        self.fields["cluster"].widget.choices = [("", _("The default")), *((c.slug, c.name) for c in known)]
        groups = {group.slug: group.name for c in known for group in c.resource_groups.all()}
        self.fields["resource_group"].widget.choices = [("", _("Any node")), *groups.items()]

    def written(self) -> dict[str, Any]:
        """The task's fields as a document has them; None where one is left out."""
        self.full_clean()
        said = {name: self.cleaned_data.get(name) or "" for name in self.fields}
        texts = ("template", "title", "when", "cluster", "resource_group")
        return {
            **{name: str(said[name]).strip() or None for name in texts},
            "trigger": said["trigger"] if said["trigger"] not in ("", Trigger.ALL_SUCCESS) else None,
            "for_each": _list_or_text(said["for_each"]),
            "skip": bool(said["skip"]) or None,
            "retries": self._object("retries", RETRIES, said),
            "resources": self._object("resources", RESOURCES, said),
            "timeout_seconds": _as_number(said["timeout_seconds"]),
            "priority": _as_number(said["priority"]) or None,
        }

    @staticmethod
    def _object(name: str, parts: tuple[str, ...], said: Mapping[str, Any]) -> dict[str, Any] | None:
        read = {"resources": str.strip, "retries": _as_number}[name]
        values = {part: read(said[f"{name}_{part}"]) for part in parts if part != "fatal_exit_codes"}
        if name == "retries" and (codes := said["retries_fatal_exit_codes"]):
            values["fatal_exit_codes"] = [_as_number(code) for code in codes.replace(",", " ").split()]
        return {part: value for part, value in values.items() if value not in ("", None)} or None


def initial_of(task: Mapping[str, Any]) -> dict[str, Any]:
    """A document's task as `TaskForm` shows it. Whatever is no object where one belongs shows nothing."""
    flat = {name: value for name, value in task.items() if not isinstance(value, dict)}
    for name in ("retries", "resources"):
        parts = task.get(name)
        flat |= {f"{name}_{part}": value for part, value in parts.items()} if isinstance(parts, dict) else {}
    for name in ("for_each", "retries_fatal_exit_codes"):
        if isinstance(flat.get(name), list):
            text = json.dumps(flat[name], ensure_ascii=False)
            flat[name] = text if name == "for_each" else text.strip("[]")
    return {"trigger": Trigger.ALL_SUCCESS, **flat}


def _as_number(text: str) -> Any:
    """A number where it is one; what is none stays text, so that the judge can say so. None when it is empty."""
    text = str(text).strip()
    for read in (int, float):
        try:
            return read(text)
        except ValueError:
            continue
    return text or None


def _list_or_text(text: str) -> Any:
    text = str(text).strip()
    if text.startswith("["):
        try:
            return json.loads(text)
        except (ValueError, RecursionError):
            return text  # An expression may be a list as well: [params.a, params.b].
    return text or None


# -- parameters -------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Panel:
    """The parameters of a task: their form, and which of them are expressions."""

    form: ParamForm
    switchable: frozenset[str]
    expressions: frozenset[str]

    def written(self) -> dict[str, Any]:
        """What was filled in, without what the template takes anyway. Needs a bound form."""
        values = self.form.params()
        for name in self.expressions:
            values[name] = self.form.data.get(PREFIX + name, "").strip()
        params = {param.name: param for param in params_of(self.form.schema)}
        return {name: value for name, value in values.items() if not _goes_without_saying(params[name], value)}


class _Unjudged:
    """Half-typed values reach the document as they are: it is judged as a whole."""

    cleaned_data: dict[str, Any]

    def clean(self) -> dict[str, Any]:
        return self.cleaned_data


def _goes_without_saying(param: Param, value: Any) -> bool:
    if param.has_default:
        return same(value, param.default)
    return value in ("", []) or (param.kind is Kind.BOOLEAN and value is False and not param.required)


def panel_for(
    version: TemplateVersion, *, params: Any = None, data: Any = None, expressions: Iterable[str] = (), **hints: Any
) -> Panel:
    """A form of a template's parameters in which any of them may be an expression. `hints` as `form_for` takes them."""
    known = {param.name: param for param in params_of(version.schema)}
    given = params if isinstance(params, dict) else {}
    switchable = frozenset(name for name, param in known.items() if param.kind not in WITHOUT_SWITCH)
    written = {name for name, value in given.items() if isinstance(value, str) and EXPRESSION in value}
    chosen = switchable & (written | set(expressions))
    form = type("PanelForm", (_Unjudged, form_for(version, initial=given, **hints)), {})(data)
    for name in chosen:
        attrs = {**MONO, "data-param": name, "placeholder": "{{ params.name }}"}
        form.fields[PREFIX + name].widget = forms.TextInput(attrs)
        if name not in written:
            form.fields[PREFIX + name].initial = ""
    return Panel(form, switchable, chosen)


# -- runs -------------------------------------------------------------------------------------------------------------
class StartForm(forms.Form):
    """What a run is asked for beside its parameters."""

    uid = forms.UUIDField(widget=forms.HiddenInput)  # sent twice, it is one run
    priority = forms.IntegerField(
        label=_("Priority"), min_value=-100, max_value=100, initial=0, help_text=_("Higher goes first; 0 is normal.")
    )

    def take_errors(self, refusal: DomainError) -> None:
        take_errors(self, refusal)


def run_params_form(schema: Mapping[str, Any], **hints: Any) -> type[ParamForm]:
    """A form of the parameters a version asks for: the same language, so the same form."""
    return form_for(TemplateVersion(schema=schema), **hints)
