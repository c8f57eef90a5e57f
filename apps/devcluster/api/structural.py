"""Structural schemas of custom resources: drop what is not described, fill in defaults, complain as Kubernetes does.

The checks are jsonschema's (draft 4, whose `exclusiveMaximum` is a flag as OpenAPI 3.0's is); the words are those of
k8s.io/apiextensions-apiserver/pkg/apiserver/validation. CEL rules (`x-kubernetes-validations`) are not evaluated.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import orjson
from jsonschema import Draft4Validator, ValidationError
from jsonschema.validators import extend

from .errors import Cause

Schema = dict[str, Any]
KEEPS = "x-kubernetes-preserve-unknown-fields"
ENVELOPE = ("apiVersion", "kind", "metadata")


@dataclass(frozen=True, slots=True, eq=False)
class Custom:
    """What one version of a definition says of its objects. `stored_version` is the apiVersion they are kept in."""

    schema: Schema
    stored_version: str
    columns: tuple[dict[str, Any], ...] = ()
    scale: dict[str, str] = field(default_factory=dict)


# Pruning


def prune(schema: Schema, value: Any, unknown: list[str], path: str = "", *, embedded: bool = True) -> Any:
    """The value without undescribed fields, whose paths are added to `unknown`. `embedded`: a whole object."""
    if isinstance(value, list):
        items = schema.get("items") or {}
        inside = bool(items.get("x-kubernetes-embedded-resource"))
        return [prune(items, each, unknown, f"{path}[{i}]", embedded=inside) for i, each in enumerate(value)]
    if not isinstance(value, dict):
        return value
    known, others = schema.get("properties") or {}, schema.get("additionalProperties")
    kept: dict[str, Any] = {}
    for name, item in value.items():
        here = f"{path}.{name}" if path else name
        if embedded and name in ENVELOPE:
            kept[name] = item
        elif name in known or isinstance(others, dict):
            inner = known.get(name, others)
            inside = bool(inner.get("x-kubernetes-embedded-resource"))
            kept[name] = prune(inner, item, unknown, here, embedded=inside)
        elif schema.get(KEEPS) or others is True:
            kept[name] = item
        else:
            unknown.append(here)
    return kept


# Defaults


def fill(schema: Schema, value: Any) -> None:
    """Defaults in place; a null that may not be one counts as absent where there is a default."""
    if isinstance(value, list):
        for each in value:
            fill(schema.get("items") or {}, each)
    if not isinstance(value, dict):
        return
    known, others = schema.get("properties") or {}, schema.get("additionalProperties")
    for name, inner in known.items():
        absent = name not in value or (value[name] is None and not inner.get("nullable"))
        if "default" in inner and absent:
            value[name] = copy.deepcopy(inner["default"])
    for name, item in value.items():
        inner = known.get(name, others)
        if isinstance(inner, dict):
            fill(inner, item)


# Validation


def complaints(schema: Schema, obj: dict[str, Any]) -> list[Cause]:
    """Every complaint about an object, in the order in which a real server lists them: what is missing comes last."""
    body = {name: value for name, value in obj.items() if name not in ENVELOPE}
    schema = {**schema, "properties": {k: v for k, v in (schema.get("properties") or {}).items() if k not in ENVELOPE}}
    schema["required"] = [name for name in schema.get("required") or () if name not in ENVELOPE]
    errors: Iterable[ValidationError] = Structural(schema).iter_errors(body)
    return [_cause(error) for error in sorted(errors, key=lambda e: (e.validator == "required", path_of(e)))]


def path_of(error: ValidationError) -> str:
    path = ""
    for part in error.absolute_path:
        path += f"[{part}]" if isinstance(part, int) else f".{part}"
    return path.removeprefix(".")


def _required(validator: Any, required: Any, instance: Any, schema: Schema) -> Iterator[ValidationError]:
    if isinstance(instance, dict):
        for name in required:
            if name not in instance:
                yield ValidationError("Required value", path=[name])


def _type(validator: Any, wanted: str, instance: Any, schema: Schema) -> Iterator[ValidationError]:
    if instance is None and schema.get("nullable"):
        return
    if not validator.is_type(instance, wanted):
        yield ValidationError(f"must be of type {wanted}")


def _either(validator: Any, flag: bool, instance: Any, schema: Schema) -> Iterator[ValidationError]:
    if flag and (isinstance(instance, bool) or not isinstance(instance, int | str)):
        yield ValidationError("must be of type integer or string", validator="type", validator_value="integer,string")


def _enum(validator: Any, allowed: list[Any], instance: Any, schema: Schema) -> Iterator[ValidationError]:
    if instance not in allowed and not (instance is None and schema.get("nullable")):
        yield ValidationError("not in the enumeration")


def _unique(validator: Any, kind: str, instance: Any, schema: Schema) -> Iterator[ValidationError]:
    """Lists that are sets, or maps by some of their items' fields."""
    if kind not in ("set", "map") or not isinstance(instance, list):
        return
    names, seen = schema.get("x-kubernetes-list-map-keys") or [], []
    for i, item in enumerate(instance):
        key = {name: item.get(name) for name in names} if kind == "map" and isinstance(item, dict) else item
        if key in seen:
            yield ValidationError("Duplicate value", path=[i], instance=key)
        seen.append(key)


Structural = extend(
    Draft4Validator,
    {
        "required": _required,
        "type": _type,
        "enum": _enum,
        "x-kubernetes-int-or-string": _either,
        "x-kubernetes-list-type": _unique,
        "format": lambda *_: None,
    },
)
WORDS = {
    "minLength": "should be at least {limit} chars long",
    "minItems": "should have at least {limit} items",
    "minProperties": "should have at least {limit} properties",
    "pattern": "should match '{limit}'",
    "multipleOf": "should be a multiple of {limit}",
}
TOO_MUCH = {
    "maxLength": ("FieldValueTooLong", "Too long: may not be more than {limit} bytes"),
    "maxItems": ("FieldValueTooMany", "Too many: {count}: must have at most {limit} items"),
    "maxProperties": ("FieldValueTooMany", "Too many: {count}: must have at most {limit} items"),
}


def _cause(error: ValidationError) -> Cause:
    path, limit, kind, schema = path_of(error), error.validator_value, str(error.validator), error.schema or {}
    value = orjson.dumps(error.instance).decode()
    match kind:
        case "required":
            return Cause.required(path)
        case "enum":
            return Cause.unsupported(path, value, list(map(str, limit)))
        case "type":
            found = f'"{_type_name(error.instance)}"'
            wanted = f"{path} in body must be of type {limit}: {found}"
            return Cause("FieldValueTypeInvalid", path, f"Invalid value: {found}: {wanted}")
        case "x-kubernetes-list-type":
            return Cause.duplicate(path, value)
        case "maximum" | "minimum":
            which, exclusive = ("less", "exclusiveMaximum") if kind == "maximum" else ("greater", "exclusiveMinimum")
            than = f"{which} than" + ("" if isinstance(schema, dict) and schema.get(exclusive) else " or equal to")
            return Cause.invalid(path, value, f"{path} in body should be {than} {limit}")
    if kind in TOO_MUCH:
        reason, text = TOO_MUCH[kind]
        return Cause(reason, path, text.format(limit=limit, count=len(error.instance)))
    if kind in WORDS:
        return Cause.invalid(path, value, f"{path} in body {WORDS[kind].format(limit=limit)}")
    return Cause.invalid(path, value, f"{path} in body must validate {kind}")


def _type_name(value: Any) -> str:
    names = {bool: "boolean", int: "integer", float: "number", str: "string", list: "array", dict: "object"}
    return names.get(type(value), "null")
