"""How the values of a type are owned: whole, field by field, key by key, item by item.

One picture for built-in types (`schema.json`) and custom ones (their structural schema), as
sigs.k8s.io/structured-merge-diff has it: what is not described has maps by key and lists as a whole.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, cached_property, lru_cache
from typing import Any

from .registry import Resource
from .schema import ATOMIC, OPAQUE, SCALARS, TYPES, Field, fields, root_of
from .structural import KEEPS

# Words of structured-merge-diff for what a scalar must be; other scalars may be anything.
NAMES = {"string": "string", "bytes": "string", "bool": "boolean", "int32": "numeric", "int64": "numeric"}
# What Go's zero value of a type already has in JSON: structs that are no pointers. Creating adds only what is inside.
ZERO = {
    "core.v1.PodTemplateSpec": ("metadata", "spec"),
    "core.v1.PodSpec": ("containers",),
    "core.v1.PersistentVolumeClaimSpec": ("resources",),
    "core.v1.Event": ("involvedObject", "source"),
    "apps.v1.DeploymentSpec": ("strategy", "template"),
    "apps.v1.ReplicaSetSpec": ("template",),
    "batch.v1.JobSpec": ("template",),
    "batch.v1.CronJobSpec": ("jobTemplate",),
    "batch.v1.JobTemplateSpec": ("metadata", "spec"),
    "apiextensions.v1.CustomResourceDefinitionSpec": ("names",),
}
ROOT_PARTS = ("metadata", "spec", "status")


@dataclass(frozen=True, eq=False)
class Shape:
    """`form`: leaf (owned whole), struct, map, any (undescribed), keyed (items known by keys) or set (of scalars)."""

    form: str
    scalar: str = ""
    keys: tuple[str, ...] = ()
    _fields: Callable[[], Mapping[str, Shape]] = dict
    _item: Callable[[], Shape] | None = None

    @cached_property
    def fields(self) -> Mapping[str, Shape]:
        return self._fields()

    @cached_property
    def item(self) -> Shape:
        return self._item() if self._item else ANY

    def child(self, name: str) -> Shape:
        found = self.fields.get(name) if self.form == "struct" else None
        return found or self.item


LEAF, ANY, SET = Shape("leaf"), Shape("any"), Shape("set", _item=lambda: LEAF)


@cache
def of_type(name: str) -> Shape:
    if name in SCALARS:
        return Shape("leaf", NAMES.get(name, ""))
    if name in OPAQUE or name not in TYPES:
        return ANY
    if name in ATOMIC:
        return LEAF
    return Shape("struct", _fields=lambda: {key: _of_field(name, key, field) for key, field in fields(name).items()})


def _of_field(owner: str, name: str, field: Field) -> Shape:
    if f"{owner}.{name}" in ATOMIC or (field.shape == "list" and not field.apply_keys):
        return LEAF
    if field.shape == "list":
        keyed = Shape("keyed", keys=field.apply_keys, _item=lambda: of_type(field.type))
        return SET if field.apply_keys == ("*",) else keyed
    if field.shape == "map":
        return Shape("map", _item=lambda: of_type(field.type))
    return of_type(field.type)


def _of_schema(schema: dict[str, Any]) -> Shape:
    properties, others, kind = schema.get("properties"), schema.get("additionalProperties"), schema.get("type")
    if kind == "array":
        how, items = schema.get("x-kubernetes-list-type"), schema.get("items") or {}
        keys = tuple(schema.get("x-kubernetes-list-map-keys") or ())
        if how == "map" and keys:
            return Shape("keyed", keys=keys, _item=lambda: _of_schema(items))
        return SET if how == "set" else LEAF
    if schema.get("x-kubernetes-map-type") == "atomic" or (kind and kind != "object"):
        return LEAF
    if properties:
        return Shape("struct", _fields=lambda: {name: _of_schema(inner) for name, inner in properties.items()})
    if isinstance(others, dict):
        return Shape("map", _item=lambda: _of_schema(others))
    return ANY if kind or schema.get(KEEPS) else LEAF


@lru_cache(maxsize=256)
def of(resource: Resource) -> Shape:
    """The shape of a kind's objects."""
    if resource.custom is None:
        root = root_of(resource)
        return of_type(root) if root else ANY
    inner = _of_schema({"type": "object", **resource.custom.schema}).fields
    return Shape("struct", _fields=lambda: {**inner, "metadata": of_type("meta.v1.ObjectMeta")})


@lru_cache(maxsize=256)
def zero(resource: Resource) -> dict[str, Any]:
    """What an object of this kind has before anybody has said anything."""
    root = None if resource.custom else root_of(resource)
    if root is None:
        return {}
    return {part: _zero(fields(root)[part].type) for part in ROOT_PARTS if part in fields(root)}


def _zero(kind: str) -> Any:
    known = fields(kind)
    return {name: None if known[name].shape == "list" else _zero(known[name].type) for name in ZERO.get(kind, ())}
