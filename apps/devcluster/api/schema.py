"""Types of the built-in kinds, read from `schema.json`: decoding as Go would, with Go's complaints.

Decoding drops fields nobody knows (and says which), drops nulls, and spells quantities canonically.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import orjson

from apps.devcluster import quantities

from . import errors, structural
from .registry import Resource
from .structural import Custom

TYPES: dict[str, dict[str, list[Any]]] = orjson.loads((Path(__file__).parent / "schema.json").read_bytes())
# Types, and fields of types, that have one owner however much is inside.
ATOMIC = frozenset(TYPES.pop("$atomic"))
OPAQUE = ("runtime.RawExtension", "meta.v1.FieldsV1", "apiextensions.v1.JSON")
# A schema, or something else in its place. Go reads these on their own, and says nothing of fields it does not know.
SCHEMA, SCHEMA_OR = "apiextensions.v1.JSONSchemaProps", "apiextensions.v1.JSONSchemaPropsOr"
RFC3339 = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$")


@dataclass(frozen=True, slots=True)
class Field:
    number: int
    type: str
    shape: str
    merge_key: str
    apply_keys: tuple[str, ...]


@cache
def fields(type_name: str) -> dict[str, Field]:
    """A type's fields as JSON has them: what Go embeds appears in place."""
    found: dict[str, Field] = {}
    for name, (number, kind, shape, merge_key, apply_keys) in TYPES.get(type_name, {}).items():
        if shape == "inline":
            found |= fields(kind)
        else:
            found[name] = Field(number, kind, shape, merge_key, tuple(apply_keys))
    return found


@cache
def root_of(resource: Resource) -> str | None:
    """The type of a kind's objects, or None where there is no table (custom resources bring their own)."""
    name = f"{(resource.group or 'core').split('.')[0]}.{resource.version}.{resource.kind}"
    return name if name in TYPES else None


def decode(resource: Resource, obj: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """The object as the server understands it, and the paths it does not know."""
    unknown: list[str] = []
    if resource.custom:
        return _custom(resource.custom, obj, unknown), unknown
    root = root_of(resource)
    if root is None:
        return obj, []
    head: dict[str, Any] = {key: obj[key] for key in ("kind", "apiVersion") if key in obj}
    try:
        body = _struct(root, {k: v for k, v in obj.items() if k not in head}, "", "", unknown)
    except ValueError as why:
        prefix = f'{resource.kind} in version "{resource.version}" cannot be handled as a {resource.kind}: '
        raise errors.bad_request(prefix + str(why)) from None
    return {**head, **body}, unknown


def _custom(custom: Custom, obj: dict[str, Any], unknown: list[str]) -> dict[str, Any]:
    """Metadata as Go has it, the rest as the definition says; kept in the words of the version that is stored."""
    metadata = _struct("meta.v1.ObjectMeta", obj.get("metadata") or {}, "metadata", "metadata", unknown)
    body = structural.prune(custom.schema, obj, unknown)
    return {**body, "apiVersion": custom.stored_version, "metadata": metadata}


def _struct(type_name: str, value: dict[str, Any], path: str, plain: str, unknown: list[str]) -> dict[str, Any]:
    known, result = fields(type_name), {}
    for name, item in value.items():
        here = f"{path}.{name}" if path else name
        field = known.get(name)
        if field is None:
            unknown.append(here)
        elif item is not None:
            there = f"{plain}.{name}" if plain else name
            result[name] = _value(type_name, field, item, here, there, unknown)
    return result


def _value(owner: str, field: Field, item: Any, path: str, plain: str, unknown: list[str]) -> Any:
    if field.shape == "list":
        if not isinstance(item, list):
            raise _mismatch(owner, plain, item, "[]" + _go(field.type))
        return [_one(owner, field.type, each, f"{path}[{i}]", plain, unknown) for i, each in enumerate(item)]
    if field.shape == "map":
        if not isinstance(item, dict):
            raise _mismatch(owner, plain, item, f"map[string]{_go(field.type)}")
        return {
            key: _one(owner, field.type, each, f"{path}.{key}", plain, unknown)
            for key, each in item.items()
            if each is not None
        }
    return _one(owner, field.type, item, path, plain, unknown)


def _one(owner: str, kind: str, item: Any, path: str, plain: str, unknown: list[str]) -> Any:
    scalar = SCALARS.get(kind)
    if scalar is not None:
        return scalar(owner, plain, item)
    if kind in OPAQUE or kind not in TYPES:
        return item
    if kind.startswith(SCHEMA_OR):
        return _schema_or(owner, item, path, plain)
    if not isinstance(item, dict):
        raise _mismatch(owner, plain, item, _go(kind))
    return _struct(kind, item, path, plain, unknown)


def _schema_or(owner: str, item: Any, path: str, plain: str) -> Any:
    if isinstance(item, list):
        return [_schema_or(owner, each, path, plain) for each in item]
    return _struct(SCHEMA, item, path, plain, []) if isinstance(item, dict) else item


def _text(owner: str, plain: str, item: Any) -> Any:
    if not isinstance(item, str):
        raise _mismatch(owner, plain, item, "string")
    return item


def _flag(owner: str, plain: str, item: Any) -> Any:
    if not isinstance(item, bool):
        raise _mismatch(owner, plain, item, "bool")
    return item


def _whole(owner: str, plain: str, item: Any) -> Any:
    if isinstance(item, bool) or not isinstance(item, int | float) or int(item) != item:
        raise _mismatch(owner, plain, item, "int32")
    return int(item)


def _quantity(owner: str, plain: str, item: Any) -> Any:
    if isinstance(item, bool) or not isinstance(item, str | int | float):
        raise ValueError(quantities.MALFORMED)
    return quantities.canonical(str(item))


def _either(owner: str, plain: str, item: Any) -> Any:
    if isinstance(item, bool) or not isinstance(item, int | str):
        raise _mismatch(owner, plain, item, "int32")
    return item


def _bytes(owner: str, plain: str, item: Any) -> Any:
    text = _text(owner, plain, item)
    try:
        base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        bad = next((i for i, c in enumerate(text) if not (c.isalnum() or c in "+/")), len(text))
        raise ValueError(f"illegal base64 data at input byte {bad}") from None
    return text


def _time(owner: str, plain: str, item: Any) -> Any:
    text = _text(owner, plain, item)
    if text and not RFC3339.match(text):
        raise ValueError(f'parsing time "{text}" as "2006-01-02T15:04:05Z07:00": cannot parse "{text}" as "2006"')
    return re.sub(r"\.\d+", "", text)


def _micro_time(owner: str, plain: str, item: Any) -> Any:
    text = _text(owner, plain, item)
    if text and not re.search(r"\.\d{6}(Z|[+-])", text):
        rest = text[19:]
        layout = "2006-01-02T15:04:05.000000Z07:00"
        raise ValueError(f'parsing time "{text}" as "{layout}": cannot parse "{rest}" as ".000000"')
    return text


SCALARS = {
    "string": _text, "bool": _flag, "int32": _whole, "int64": _whole, "bytes": _bytes,
    "resource.Quantity": _quantity, "intstr.IntOrString": _either, "meta.v1.Time": _time,
    "meta.v1.MicroTime": _micro_time,
}  # fmt: skip


def _go(kind: str) -> str:
    """A type as Go prints it: the package is the last part before the name."""
    parts = kind.split(".")
    return kind if len(parts) == 1 else ".".join(parts[-2:])


def _mismatch(owner: str, plain: str, item: Any, wanted: str) -> ValueError:
    found = {bool: "bool", str: "string", list: "array", dict: "object"}.get(type(item), "number")
    where = f"{owner.rsplit('.', 1)[1]}.{plain}"
    return ValueError(f"json: cannot unmarshal {found} into Go struct field {where} of type {wanted}")
