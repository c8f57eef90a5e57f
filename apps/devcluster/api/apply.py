"""Server-side apply: create or merge, remember who set what, refuse to take a field from another applier.

Ownership is kept as `fieldsV1` sets, for appliers only: what PUT and PATCH set is not tracked, so a conflict arises
between appliers, not with them. Source of the rules: sigs.k8s.io/structured-merge-diff.
"""

from __future__ import annotations

from typing import Any

import orjson
from aiohttp import web

from . import errors, schema
from . import request as asked
from .errors import Cause
from .objects import Call, Objects, timestamp
from .request import Target
from .schema import fields, root_of
from .store import Object, Stored

Path = tuple[str, ...]


def serve(
    objects: Objects, request: web.Request, target: Target, raw: bytes, call: Call
) -> tuple[Stored, bool, list[str]]:
    manager = request.query.get("fieldManager", "")
    if not manager:
        cause = Cause.required("fieldManager", "is required for apply patch")
        raise errors.invalid_options("PatchOptions", [cause])
    resource = target.resource
    body = asked.parse_yaml(raw, resource.kind)
    for part in ("apiVersion", "kind"):
        if not body.get(part):
            raise errors.bad_request(f"invalid object type: {part} must be set")
    asked.check_envelope(target, body, resource.kind, resource.api_version, objects.registry)
    if (body.get("metadata") or {}).get("managedFields"):
        raise errors.bad_request("metadata.managedFields must be nil")
    _check_declared(target, body)
    wanted, warnings = asked.decode(request, target, body, b"")
    exists = objects.store.get(resource.key, target.namespace, target.name) is not None
    if not exists:
        asked.check_names(target, wanted)
    wanted.setdefault("metadata", {})
    owned = _field_set(_content(wanted), root_of(resource) or "")
    force = asked.flag(request, "force")
    if not exists:
        wanted["metadata"]["managedFields"] = [_entry(manager, target, owned)]
        return objects.create(resource, target.namespace, wanted, call), True, warnings

    def merged(obj: Object) -> Object:
        result = _apply(obj, wanted, owned, manager, target, force=force)
        asked.check_names(target, wanted)  # after the conflicts, in the order in which a real server complains
        return result

    return objects.update(resource, target.namespace, target.name, merged, call), False, warnings


def _check_declared(target: Target, body: Object) -> None:
    """Apply owns fields by their type, so an undeclared one is an error whatever fieldValidation says."""
    try:
        _, unknown = schema.decode(target.resource, body)
    except errors.ApiError as refusal:
        raise errors.ApiError(500, None, f"failed to create typed patch object: {refusal.message}") from None
    if unknown:
        own = (body.get("metadata") or {}).get("namespace", "")
        where = f"{own}/{target.name}; {target.resource.group}/{target.resource.version}"
        kind = target.resource.kind
        why = f"failed to create typed patch object ({where}, Kind={kind}): .{unknown[0]}: field not declared in schema"
        raise errors.ApiError(500, None, why)


def _content(obj: Object) -> Object:
    skipped = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp", "generation")
    kept = {k: v for k, v in obj.items() if k not in ("kind", "apiVersion", "metadata")}
    metadata = {k: v for k, v in (obj.get("metadata") or {}).items() if k not in skipped}
    return {**kept, "metadata": metadata} if metadata else kept


def _apply(obj: Object, wanted: Object, owned: Object, manager: str, target: Target, *, force: bool) -> Object:
    root = root_of(target.resource) or ""
    entries = list(obj["metadata"].get("managedFields") or [])
    mine = next((e for e in entries if _same(e, manager, target)), None)
    result: Object = orjson.loads(orjson.dumps(obj))
    if mine is not None:
        _drop(result, mine["fieldsV1"], owned, [e["fieldsV1"] for e in entries if e is not mine])
    _check_conflicts(obj, wanted, owned, entries, mine, force=force)
    result = _merge(result, _content(wanted), root)
    others = [e for e in entries if e is not mine]
    if force:
        others = [{**e, "fieldsV1": _minus(e["fieldsV1"], owned)} for e in others]
    entry = _entry(manager, target, owned)
    if mine is not None and mine["fieldsV1"] == owned:
        entry["time"] = mine["time"]  # nothing new was claimed: applying the same twice changes nothing
    result["metadata"]["managedFields"] = [*(e for e in others if e["fieldsV1"]), entry]
    if "resourceVersion" in wanted["metadata"]:
        result["metadata"]["resourceVersion"] = wanted["metadata"]["resourceVersion"]
    return result


def _same(entry: Object, manager: str, target: Target) -> bool:
    return bool(entry["manager"] == manager and entry.get("subresource", "") == target.subresource)


def _entry(manager: str, target: Target, owned: Object) -> Object:
    entry: Object = {
        "manager": manager,
        "operation": "Apply",
        "apiVersion": target.resource.api_version,
        "time": timestamp(),
    }
    entry |= {"fieldsType": "FieldsV1", "fieldsV1": owned}
    return {**entry, "subresource": target.subresource} if target.subresource else entry


def _keys(type_name: str, name: str) -> tuple[str, tuple[str, ...]]:
    field = fields(type_name).get(name)
    if field is None:
        return "", ()
    return field.type, field.apply_keys if field.shape == "list" else ()


def _item_key(item: Any, keys: tuple[str, ...]) -> str:
    if keys == ("*",):
        return "v:" + orjson.dumps(item).decode()
    found = {key: item.get(key, "TCP" if key == "protocol" else None) for key in keys}
    return "k:" + orjson.dumps({k: v for k, v in sorted(found.items()) if v is not None}).decode()


def _field_set(value: Object, type_name: str) -> Object:
    result: Object = {}
    for name, item in value.items():
        inner, keys = _keys(type_name, name)
        if isinstance(item, dict) and item:
            result[f"f:{name}"] = _field_set(item, inner)
        elif isinstance(item, list) and keys:
            result[f"f:{name}"] = {_item_key(each, keys): _item_set(each, inner, keys) for each in item}
        else:
            result[f"f:{name}"] = {}
    return result


def _item_set(item: Any, type_name: str, keys: tuple[str, ...]) -> Object:
    return {} if keys == ("*",) else {".": {}, **_field_set(item, type_name)}


def _merge(target: Any, wanted: Object, type_name: str) -> Object:
    result = dict(target) if isinstance(target, dict) else {}
    for name, item in wanted.items():
        inner, keys = _keys(type_name, name)
        if isinstance(item, dict) and item:
            result[name] = _merge(result.get(name), item, inner)
        elif isinstance(item, list) and keys:
            known = {_item_key(each, keys): each for each in result.get(name) or ()}
            for each in item:
                key = _item_key(each, keys)
                known[key] = each if keys == ("*",) else _merge(known.get(key), each, inner)
            result[name] = list(known.values())
        else:
            result[name] = item
    return result


def _drop(obj: Any, had: Object, has: Object, others: list[Object]) -> None:
    """Remove what this manager set before and no longer mentions, unless another applier also claims it."""
    for key, inner in had.items():
        theirs = [other[key] for other in others if key in other]
        if key == ".":
            continue
        if key.startswith("f:") and isinstance(obj, dict) and key[2:] in obj:
            name = key[2:]
            if key not in has and not theirs and not inner:
                del obj[name]
            elif isinstance(obj[name], list):
                _drop_items(obj, name, inner, has.get(key, {}), theirs)
            else:
                _drop(obj[name], inner, has.get(key, {}), theirs)
                if obj[name] == {} and key not in has:
                    del obj[name]


def _drop_items(obj: Object, name: str, had: Object, has: Object, others: list[Object]) -> None:
    gone = [key for key in had if key not in has and key != "." and not any(key in other for other in others)]
    obj[name] = [item for item in obj[name] if not any(_matches(item, key) for key in gone)]
    for key, inner in had.items():
        item = next((each for each in obj[name] if _matches(each, key)), None)
        if key in has and isinstance(item, dict):
            _drop(item, inner, has[key], [other[key] for other in others if key in other])


def _matches(item: Any, key: str) -> bool:
    wanted = orjson.loads(key[2:]) if key[:2] in ("k:", "v:") else None
    if key.startswith("v:"):
        return bool(item == wanted)
    return isinstance(item, dict) and wanted is not None and all(item.get(k, v) == v for k, v in wanted.items())


def _check_conflicts(
    obj: Object, wanted: Object, owned: Object, entries: list[Object], mine: Object | None, *, force: bool
) -> None:
    if force:
        return
    causes, managers = [], []
    for entry in entries:
        if entry is mine:
            continue
        for path in _leaves(owned, entry["fieldsV1"]):
            now, claimed = _at(obj, path), _at(wanted, path)
            if now != claimed and not (isinstance(now, dict) and isinstance(claimed, dict)):
                causes.append((entry["manager"], _dotted(path)))
                managers.append(entry["manager"])
    if causes:
        listed = [{"reason": "FieldManagerConflict", "message": f'conflict with "{m}"', "field": p} for m, p in causes]
        plural = "s" if len(causes) > 1 else ""
        which = f": {causes[0][1]}" if len(causes) == 1 else ":\n" + "\n".join(f"- {path}" for _, path in causes)
        message = f'Apply failed with {len(causes)} conflict{plural}: conflict{plural} with "{managers[0]}"{which}'
        raise errors.ApiError(409, "Conflict", message, {"causes": listed})


def _leaves(first: Object, second: Object, path: Path = ()) -> list[Path]:
    found: list[Path] = []
    for key in first.keys() & second.keys() - {"."}:
        inner, theirs = first[key], second[key]
        found += [(*path, key)] if not inner or not theirs else _leaves(inner, theirs, (*path, key))
    return sorted(found)


def _at(obj: Any, path: Path) -> Any:
    for key in path:
        if key.startswith("f:"):
            obj = obj.get(key[2:]) if isinstance(obj, dict) else None
        else:
            obj = next((each for each in obj or () if _matches(each, key)), None)
    return obj


def _dotted(path: Path) -> str:
    text = ""
    for key in path:
        if key.startswith("f:"):
            text += f".{key[2:]}"
        elif key.startswith("k:"):
            text += "[" + ",".join(f"{k}={orjson.dumps(v).decode()}" for k, v in orjson.loads(key[2:]).items()) + "]"
    return text


def _minus(first: Object, second: Object) -> Object:
    """Fields of `first` that `second` does not have."""
    result: Object = {}
    for key, inner in first.items():
        if key not in second:
            result[key] = inner
        elif inner and second[key]:
            rest = _minus(inner, second[key])
            if rest and set(rest) != {"."}:
                result[key] = rest
    return result
