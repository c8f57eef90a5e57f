"""Forms generated from a parameter schema. The form only translates: `clean_params` is the one judge."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from django import forms
from django.utils.translation import gettext as _

from apps.core.errors import InvalidInput

from .models import TemplateVersion
from .params import CHOICES, Kind, Param, in_order_of_need, kind_of, params_of
from .schema import clean_params
from .values import MAX_ITEMS
from .widgets import ListInput, SuggestInput

PREFIX = "param-"
ABSENT: Any = object()  # the field was left empty and says nothing


def _start(bound: forms.BoundField) -> tuple[Any, ...]:
    """What an untouched field may hold."""
    param = bound.field.param
    return (None, "", [], [""], *([param.default, str(param.default)] if param.has_default else []))


@dataclass
class Section:
    """Fields under one heading; the advanced ones are folded away."""

    title: str
    fields: list[forms.BoundField] = field(default_factory=list)
    advanced: list[forms.BoundField] = field(default_factory=list)

    @property
    def opens(self) -> bool:
        """Whether the folded fields must be seen at once."""
        return any(bound.errors for bound in self.advanced)

    @property
    def is_optional(self) -> bool:
        """Titled, and nothing in it has to be filled in: the section itself is folded."""
        return bool(self.title) and not any(bound.field.required for bound in self.fields + self.advanced)

    @property
    def is_used(self) -> bool:
        """Something in it is wrong, or is not what the template starts with."""
        return any(bound.errors or bound.value() not in _start(bound) for bound in self.fields + self.advanced)


class ParamField(forms.Field):
    """Turns what a browser sends into the JSON the API would have been sent, and judges nothing."""

    def __init__(self, param: Param, **kwargs: Any) -> None:
        super().__init__(required=param.required, label=param.label, help_text=param.help, **kwargs)
        self.param = param

    def validate(self, value: Any) -> None:
        pass  # `required` is for the mark beside the label; clean_params says so in its own words

    def to_python(self, value: Any) -> Any:
        return _as_json(self.param, value)


def _as_json(param: Param, value: Any) -> Any:
    if param.kind is Kind.BOOLEAN:
        return bool(value)
    if param.kind is Kind.LIST:
        return [_typed(param.spec["items"], item) for item in value or []]
    if value is None:
        return ABSENT
    value = _typed(param.spec, str(value))
    if value == "" and not (param.kind is Kind.TEXT and param.default):
        return ABSENT
    return value


def _typed(spec: Mapping[str, Any], text: str) -> Any:
    """A number where a number is asked for; what is none stays text, so that the judge can say so."""
    if spec["type"] == "string":
        # Browsers send CRLF; a shell script with carriage returns fails in ways nobody understands.
        return text.replace("\r\n", "\n").replace("\r", "\n")
    try:
        return int(text) if spec["type"] == "integer" else float(text)
    except ValueError:
        return text.strip()


class ParamForm(forms.Form):
    """The base of generated forms. Draw `sections` with `jobtemplates/_params.html`."""

    schema: ClassVar[Mapping[str, Any]] = {}
    use_required_attribute = False  # a field that does not apply is hidden, and must not hold up the browser

    def clean(self) -> dict[str, Any]:
        try:
            self.cleaned_params = clean_params(self.schema, self.params())
        except InvalidInput as refusal:
            self.add_refusal(refusal)
        return self.cleaned_data

    def params(self) -> dict[str, Any]:
        """What was filled in and applies, for `clean_params` or a service. Needs a bound form."""
        if not hasattr(self, "cleaned_data"):
            self.full_clean()
        values: dict[str, Any] = {}
        for param in in_order_of_need(params_of(self.schema)):
            value = self.cleaned_data.get(PREFIX + param.name, ABSENT)
            if value is not ABSENT and param.applies(self._seen(values)):
                values[param.name] = value
        return values

    def _seen(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """A parameter that was not sent stands at its default."""
        defaults = {param.name: param.default for param in params_of(self.schema) if param.has_default}
        return defaults | dict(values)

    def add_refusal(self, refusal: InvalidInput) -> None:
        """Put a service's complaints on the fields they speak of; the others become form errors."""
        for path, messages in refusal.fields.items():
            name, bracket, index = path.removeprefix("params.").partition("[")
            known = path.startswith("params.") and PREFIX + name in self.fields
            where = _("Row %(number)d: ") % {"number": int(index.rstrip("]")) + 1} if known and bracket else ""
            for message in messages:
                self.add_error(PREFIX + name if known else None, f"{where}{message}" if known else f"{path}: {message}")

    @property
    def sections(self) -> list[Section]:
        found: dict[str, Section] = {}
        for param in params_of(self.schema):
            section = found.setdefault(param.ui.get("group", ""), Section(param.ui.get("group", "")))
            (section.advanced if param.ui.get("advanced") else section.fields).append(self[PREFIX + param.name])
        return list(found.values())


def form_for(
    version: TemplateVersion,
    *,
    initial: Mapping[str, Any] | None = None,
    workspace_files: Iterable[str] = (),
    secrets: Iterable[str] = (),
) -> type[ParamForm]:
    """A form class with a field `param-<name>` per parameter of `version`.

    `initial` are params as a job keeps them, over the defaults. `workspace_files` are paths to suggest, `secrets` are
    "name/KEY" references to choose from.
    """
    files, references = tuple(workspace_files), tuple(secrets)
    params = params_of(version.schema)
    # An example is typed in for somebody who begins, and is no default: the API asks for what is required.
    examples = {param.name: param.ui["example"] for param in params if "example" in param.ui and initial is None}
    values = {param.name: param.default for param in params if param.has_default} | examples | dict(initial or {})
    attrs: dict[str, Any] = {"schema": version.schema, "__module__": __name__}
    for param in params:
        widget = _widget(param, values.get(param.name), files, references)
        attrs[PREFIX + param.name] = ParamField(param, widget=widget, initial=values.get(param.name))
    return type("GeneratedParamForm", (ParamForm,), attrs)


def _widget(param: Param, value: Any, files: tuple[str, ...], secrets: tuple[str, ...]) -> forms.Widget:
    attrs = _attrs(param)
    match param.widget:
        case "code":
            return forms.Textarea({**attrs, "data-code": param.ui.get("language", "python"), "rows": 14})
        case "textarea":
            return forms.Textarea({**attrs, "rows": 5, "spellcheck": "false"})
        case "number":
            return forms.NumberInput(attrs | _limits(param))
        case "list":
            hints = secrets if kind_of(param.spec["items"]) is Kind.SECRET_ENV else ()
            most = min(param.spec.get("maxItems", MAX_ITEMS), MAX_ITEMS)
            return ListInput(attrs, most=most, label=param.label, suggestions=hints)
        case "file":
            return SuggestInput({**attrs, "list": f"id_{PREFIX}{param.name}_known"}, suggestions=files)
        case "secret":
            return forms.Select(attrs, choices=_options(param, [*secrets, *([value] if value else [])]))
        case "select" | "cascade":
            return forms.Select(attrs, choices=_options(param, _every_choice(param)))
        case "switch" if param.kind is Kind.ENUM:
            return forms.RadioSelect(attrs, choices=_options(param, _every_choice(param), may_be_empty=False))
        case "switch":
            return forms.CheckboxInput(attrs)
    return forms.TextInput({**attrs, "spellcheck": "false", "autocomplete": "off"})


def _attrs(param: Param) -> dict[str, Any]:
    """What the islands of `paramform.js` read."""
    attrs: dict[str, Any] = {"data-param": param.name}
    if placeholder := param.ui.get("placeholder"):
        attrs["placeholder"] = placeholder
    if param.conditions:
        attrs["data-show-when"] = json.dumps(param.conditions)
    if param.kind is Kind.CASCADE:
        attrs["data-cascade"] = json.dumps(param.spec[CHOICES])
    return attrs


def _limits(param: Param) -> dict[str, Any]:
    limits = {html: param.spec[key] for html, key in (("min", "minimum"), ("max", "maximum")) if key in param.spec}
    return limits | {"step": 1 if param.kind is Kind.INTEGER else "any"}


def _every_choice(param: Param) -> list[Any]:
    if param.kind is not Kind.CASCADE:
        return list(param.spec["enum"])
    return [choice for choices in param.spec[CHOICES]["map"].values() for choice in choices]


def _options(param: Param, values: Iterable[Any], *, may_be_empty: bool | None = None) -> list[tuple[Any, str]]:
    labels = param.ui.get("labels", {})
    empty = not (param.required and param.has_default) if may_be_empty is None else may_be_empty
    options = [(value, labels.get(str(value), str(value))) for value in dict.fromkeys(values)]
    return [("", "—"), *options] if empty else options
