"""What a template takes, in words: made from its schema, so that it is never out of date."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.utils.translation import gettext as _

from .models import TemplateVersion
from .params import CHOICES, Kind, Param, kind_of, params_of


@dataclass(frozen=True)
class ParamDoc:
    """One row of the table. Everything but `default` is text; `default` is JSON, None when there is none."""

    name: str
    label: str
    type: str
    required: bool
    default: Any
    has_default: bool
    range: str
    help: str
    applies: str
    choices: tuple[str, ...]
    group: str
    advanced: bool

    @property
    def default_text(self) -> str:
        return self.default if isinstance(self.default, str) else json.dumps(self.default, ensure_ascii=False)


@dataclass(frozen=True)
class TemplateDoc:
    slug: str
    name: str
    summary: str
    description: str
    version: int
    notes: str
    params: tuple[ParamDoc, ...]
    example: dict[str, Any]


def docs_for(version: TemplateVersion) -> TemplateDoc:
    """The documentation of one version. `version.template` is read, so fetch it along."""
    template, params = version.template, params_of(version.schema)
    return TemplateDoc(
        slug=template.slug,
        name=template.name,
        summary=template.summary,
        description=template.description,
        version=version.number,
        notes=version.notes,
        params=tuple(_row(param) for param in params),
        example={
            "name": f"my-{template.slug}-job",
            "template": template.slug,
            "params": {param.name: _example(param) for param in params if _in_example(param)},
            "resources": {"cpu": "500m~2", "memory": "256Mi~2Gi"},
        },
    )


def _row(param: Param) -> ParamDoc:
    return ParamDoc(
        name=param.name,
        label=param.label,
        type=type_words(param.spec),
        required=param.required,
        default=param.default,
        has_default=param.has_default,
        range=_range(param.spec),
        help=param.help,
        applies=_applies(param),
        choices=_choices(param),
        group=param.ui.get("group", ""),
        advanced=param.ui.get("advanced", False),
    )


def type_words(spec: Mapping[str, Any]) -> str:
    kind = kind_of(spec)
    if kind is Kind.LIST:
        return _("list of: %(type)s") % {"type": type_words(spec["items"])}
    return {
        Kind.TEXT: _("text"),
        Kind.CODE: _("code"),
        Kind.IMAGE: _("image name"),
        Kind.PATH: _("file in the workspace"),
        Kind.SECRET: _("secret reference (name/KEY)"),
        Kind.ENV: _("NAME=value"),
        Kind.SECRET_ENV: _("NAME=secret/KEY"),
        Kind.ENUM: _("choice"),
        Kind.CASCADE: _("choice"),
        Kind.INTEGER: _("whole number"),
        Kind.NUMBER: _("number"),
        Kind.BOOLEAN: _("true or false"),
    }[kind]


def _range(spec: Mapping[str, Any]) -> str:
    parts = []
    for low, high, words in (
        ("minimum", "maximum", "%(range)s"),
        ("minLength", "maxLength", _("%(range)s characters")),
        ("minItems", "maxItems", _("%(range)s entries")),
    ):
        if low in spec and high in spec:
            parts.append(words % {"range": _("%(low)s to %(high)s") % {"low": spec[low], "high": spec[high]}})
        elif low in spec:
            parts.append(words % {"range": f"≥ {spec[low]}"})
        elif high in spec:
            parts.append(words % {"range": f"≤ {spec[high]}"})
    if "pattern" in spec:
        parts.append(spec["pattern"])
    return ", ".join(parts)


def _choices(param: Param) -> tuple[str, ...]:
    if param.kind is Kind.CASCADE:
        rule = param.spec[CHOICES]
        return tuple(
            _("%(choices)s when %(param)s is %(value)s")
            % {"choices": ", ".join(choices), "param": rule["param"], "value": value}
            for value, choices in sorted(rule["map"].items())
        )
    return tuple(map(str, param.spec.get("enum", ())))


def _applies(param: Param) -> str:
    return _(" and ").join(
        _("when %(param)s is %(values)s") % {"param": name, "values": _(" or ").join(map(str, values))}
        for name, values in param.conditions.items()
    )


def _in_example(param: Param) -> bool:
    if param.kind is Kind.CASCADE:
        return param.has_default  # else the first choice is taken, whatever its parent says
    return param.required and (not param.conditions or param.has_default)


def _example(param: Param) -> Any:
    if param.has_default:
        return param.default
    if choices := param.spec.get("enum") or next(iter(param.spec.get(CHOICES, {}).get("map", {}).values()), None):
        return choices[0]
    return {
        Kind.INTEGER: math.ceil(param.spec.get("minimum", 1)),
        Kind.NUMBER: param.spec.get("minimum", 1),
        Kind.BOOLEAN: True,
        Kind.LIST: [],
        Kind.IMAGE: "python:3.11-slim",
        Kind.PATH: "train/main.py",
        Kind.SECRET: "my-secret/KEY",
    }.get(param.kind, param.ui.get("placeholder") or param.ui.get("example") or "…")


def example_json(doc: TemplateDoc) -> str:
    """The body of `POST /api/v1/projects/<slug>/jobs/`, ready to paste."""
    return json.dumps(doc.example, indent=2, ensure_ascii=False)
