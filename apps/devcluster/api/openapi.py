"""OpenAPI v3 documents, a group version each: which kinds there are, what each may be asked, what they are made of.

Built-in types come from `schema.json`, which has no descriptions; custom ones from their definition.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import orjson

from . import schema
from .registry import Registry, Resource

Schema = dict[str, Any]
INFO = {"title": "Kubernetes", "version": "1.36"}
SCALARS: dict[str, Schema] = {
    "string": {"type": "string"},
    "bool": {"type": "boolean"},
    "int32": {"type": "integer", "format": "int32"},
    "int64": {"type": "integer", "format": "int64"},
    "double": {"type": "number", "format": "double"},
    "bytes": {"type": "string", "format": "byte"},
    "intstr.IntOrString": {"type": "string", "format": "int-or-string"},
    "resource.Quantity": {"type": "string"},
    "meta.v1.Time": {"type": "string", "format": "date-time"},
    "meta.v1.MicroTime": {"type": "string", "format": "date-time"},
}
PACKAGES = {
    "meta": "apimachinery.pkg.apis.", "runtime": "apimachinery.pkg.",
    "apiextensions": "apiextensions-apiserver.pkg.apis.",
}  # fmt: skip
VERBS = {"get": "get", "update": "put", "patch": "patch", "delete": "delete"}
COLLECTION_VERBS = {"list": "get", "create": "post"}
OPTIONS = tuple(
    {"name": name, "in": "query", "schema": {"type": "string"}}
    for name in ("dryRun", "fieldManager", "fieldValidation")
)


def answer(registry: Registry, path: str) -> Schema | None:
    """The document at a path below `/openapi`, or None."""
    if path == "/openapi/v3":
        found = {f"apis/{group}/{version}" for group, versions in registry.groups().items() for version in versions}
        names = sorted(name.replace("apis//", "api/") for name in found)
        return {"paths": {name: {"serverRelativeURL": f"/openapi/v3/{name}"} for name in names}}
    if path == "/openapi/v2":
        return {"swagger": "2.0", "info": INFO, "paths": {}, "definitions": {}}
    parts = path.removeprefix("/openapi/v3/").split("/")
    if parts[0] not in ("api", "apis") or len(parts) != (2 if parts[0] == "api" else 3):
        return None
    resources = registry.of_group("" if parts[0] == "api" else parts[1], parts[-1])
    return _document(resources) if resources else None


def _document(resources: list[Resource]) -> Schema:
    paths: Schema = {}
    kinds: Schema = {}
    for resource in resources:
        paths |= _paths(resource)
        kinds |= _kind(resource)
    return {"openapi": "3.0.0", "info": INFO, "paths": paths, "components": {"schemas": kinds}}


def _named(resource: Resource) -> dict[str, str]:
    return {"group": resource.group, "version": resource.version, "kind": resource.kind}


def _paths(resource: Resource) -> Schema:
    root = f"/apis/{resource.group}" if resource.group else "/api"
    scope = "/namespaces/{namespace}" if resource.namespaced else ""
    path = f"{root}/{resource.version}{scope}/{resource.plural}"
    operation = {"x-kubernetes-group-version-kind": _named(resource), "parameters": OPTIONS, "responses": {}}
    found = {}
    for place, verbs in ((path, COLLECTION_VERBS), (f"{path}/{{name}}", VERBS)):
        found[place] = {
            method: {**operation, "x-kubernetes-action": verb}
            for verb, method in verbs.items()
            if verb in resource.verbs
        }
    return {place: {**methods, "parameters": []} for place, methods in found.items() if methods}


def _kind(resource: Resource) -> Schema:
    """A kind's own type and all it is made of."""
    root = schema.root_of(resource)
    if resource.custom is not None:
        types, name = dict(_reached("meta.v1.ObjectMeta")), f"{resource.group}.{resource.version}.{resource.kind}"
        own = orjson.loads(orjson.dumps(resource.custom.schema))
        own.setdefault("properties", {})["metadata"] = _reference("meta.v1.ObjectMeta")
    elif root is not None:
        types, name = dict(_reached(root)), _public(root)
        own = types[name]
    else:
        types, name, own = {}, f"{resource.group or 'core'}.{resource.version}.{resource.kind}", {"type": "object"}
    head = {"apiVersion": SCALARS["string"], "kind": SCALARS["string"]}
    described = {**own, "properties": head | own.get("properties", {})}
    return {**types, name: {**described, "x-kubernetes-group-version-kind": [_named(resource)]}}


def _public(name: str) -> str:
    """A type's name as other documents have it."""
    return f"io.k8s.{PACKAGES.get(name.partition('.')[0], 'api.')}{name}"


def _reference(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{_public(name)}"}


@cache
def _reached(root: str) -> Schema:
    """The type and, again and again, those of its fields."""
    found: Schema = {}
    left = [root]
    while left:
        name = left.pop()
        if _public(name) in found:
            continue
        opaque = name in schema.OPAQUE or name.startswith(schema.SCHEMA_OR)
        known = {} if opaque else schema.fields(name)
        properties = {key: _field(field) for key, field in known.items()}
        found[_public(name)] = {"type": "object", **({"properties": properties} if properties else {})}
        left += [f.type for f in known.values() if f.type not in SCALARS]
    return found


def _field(field: schema.Field) -> Schema:
    inner = SCALARS.get(field.type) or _reference(field.type)
    if field.shape == "map":
        return {"type": "object", "additionalProperties": inner}
    if field.shape != "list":
        return inner
    found: Schema = {"type": "array", "items": inner, "x-kubernetes-list-type": "atomic"}
    if field.apply_keys == ("*",):
        found["x-kubernetes-list-type"] = "set"
    elif field.apply_keys:
        found |= {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": list(field.apply_keys)}
    if field.merge_key:
        key = {} if field.merge_key == "*" else {"x-kubernetes-patch-merge-key": field.merge_key}
        found |= {"x-kubernetes-patch-strategy": "merge", **key}
    return found
