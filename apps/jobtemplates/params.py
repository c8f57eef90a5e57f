"""How one property of a parameter schema is read: its kind, its words, and when it applies."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import Any

UI = "x-ui"
CHOICES = "x-choices"


class Kind(StrEnum):
    """What a parameter is to the person who fills it in."""

    TEXT = "text"
    CODE = "code"
    IMAGE = "image"
    PATH = "path"
    SECRET = "secret"  # noqa: S105  a word, not one
    ENV = "env"
    SECRET_ENV = "secret-env"  # noqa: S105
    ENUM = "enum"
    CASCADE = "cascade"
    INTEGER = "integer"
    NUMBER = "number"
    BOOLEAN = "boolean"
    LIST = "list"


# `format` of a string property -> what it is. `env` and `secret-env` make sense as items of a list.
FORMATS = {kind.value: kind for kind in (Kind.IMAGE, Kind.PATH, Kind.SECRET, Kind.ENV, Kind.SECRET_ENV)}


def kind_of(spec: Mapping[str, Any]) -> Kind:
    """The kind of a property, or of the items of a list."""
    if spec.get("type") != "string":
        return Kind.ENUM if "enum" in spec else {"array": Kind.LIST}.get(spec["type"]) or Kind(spec["type"])
    if CHOICES in spec:
        return Kind.CASCADE
    if "enum" in spec:
        return Kind.ENUM
    if spec.get(UI, {}).get("widget") == "code":
        return Kind.CODE
    return FORMATS.get(spec.get("format", ""), Kind.TEXT)


def secrets_asked(schema: Mapping[str, Any], params: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """(place, "name/KEY") of every secret that cleaned `params` speak of."""
    for param in params_of(schema):
        value = params.get(param.name)
        if param.kind is Kind.SECRET and value:
            yield param.name, value
        elif param.kind is Kind.LIST and kind_of(param.spec["items"]) is Kind.SECRET_ENV:
            for index, item in enumerate(value or []):
                yield f"{param.name}[{index}]", item.partition("=")[2]


@dataclass(frozen=True)
class Param:
    """One parameter of a checked schema."""

    name: str
    spec: Mapping[str, Any]
    required: bool

    @cached_property
    def kind(self) -> Kind:
        return kind_of(self.spec)

    @property
    def ui(self) -> Mapping[str, Any]:
        return self.spec.get(UI, {})

    @property
    def widget(self) -> str:
        return self.ui.get("widget") or DEFAULT_WIDGET[self.kind]

    @property
    def label(self) -> str:
        return self.spec.get("title") or self.name.replace("_", " ").capitalize()

    @property
    def help(self) -> str:
        return self.spec.get("description", "")

    @property
    def has_default(self) -> bool:
        return "default" in self.spec

    @property
    def default(self) -> Any:
        return self.spec.get("default")

    @property
    def conditions(self) -> dict[str, list[Any]]:
        """Other parameter -> the values under which this one applies. All of them must hold."""
        return {
            name: value if isinstance(value, list) else [value] for name, value in self.ui.get("show_when", {}).items()
        }

    @property
    def leans_on(self) -> set[str]:
        """The parameters that must be known before this one can be judged."""
        cascade = {self.spec[CHOICES]["param"]} if CHOICES in self.spec else set()
        return set(self.conditions) | cascade

    def applies(self, values: Mapping[str, Any]) -> bool:
        return all(same(values.get(name), *wanted) for name, wanted in self.conditions.items())

    def choices(self, values: Mapping[str, Any]) -> list[Any]:
        """What may be chosen, given the other values. Empty for parameters that are no choice."""
        if self.kind is Kind.CASCADE:
            rule = self.spec[CHOICES]
            parent = values.get(rule["param"])
            return list(rule["map"].get(parent, [])) if isinstance(parent, str) else []
        return list(self.spec.get("enum", []))


DEFAULT_WIDGET = {
    Kind.TEXT: "text",
    Kind.CODE: "code",
    Kind.IMAGE: "text",
    Kind.PATH: "file",
    Kind.SECRET: "secret",
    Kind.ENV: "text",
    Kind.SECRET_ENV: "text",
    Kind.ENUM: "select",
    Kind.CASCADE: "cascade",
    Kind.INTEGER: "number",
    Kind.NUMBER: "number",
    Kind.BOOLEAN: "switch",
    Kind.LIST: "list",
}
WIDGETS = {
    **{kind: {widget} for kind, widget in DEFAULT_WIDGET.items()},
    Kind.TEXT: {"text", "textarea"},
    Kind.PATH: {"file", "text"},
    Kind.ENUM: {"select", "switch"},
}


def same(value: Any, *wanted: Any) -> bool:
    """Equality as JSON sees it: `True` is not 1."""
    return any(value == other and isinstance(value, bool) == isinstance(other, bool) for other in wanted)


def params_of(schema: Mapping[str, Any]) -> list[Param]:
    """The parameters in the order people see them: `x-ui.order`, for PostgreSQL does not keep the order of keys."""
    required = set(schema.get("required", ()))
    params = [Param(name, spec, name in required) for name, spec in schema["properties"].items()]
    return sorted(params, key=lambda param: param.ui.get("order", 0))


def in_order_of_need(params: Iterable[Param]) -> list[Param]:
    """Each parameter after those it leans on; ones that lean on each other in a ring are left out."""
    waiting, known, ordered = list(params), set[str](), list[Param]()
    while ready := [param for param in waiting if param.leans_on <= known]:
        ordered += ready
        known |= {param.name for param in ready}
        waiting = [param for param in waiting if param.name not in known]
    return ordered


def ordered(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The same schema with the order of its parameters written down."""
    properties = {
        name: {**spec, UI: {"order": position, **spec.get(UI, {})}}
        for position, (name, spec) in enumerate(schema["properties"].items(), start=1)
    }
    return {**schema, "properties": properties}
