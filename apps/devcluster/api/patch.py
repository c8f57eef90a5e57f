"""The patch formats: JSON merge patch (RFC 7386), JSON patch (RFC 6902) and strategic merge patch.

Strategic merge follows k8s.io/apimachinery/pkg/util/strategicpatch; which lists merge, and by which key, is in the
schema. Kinds without a schema (custom resources) refuse it, as the real server does.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import orjson

from . import errors
from .registry import Resource
from .schema import fields, root_of

Change = Callable[[Any], Any]
JSON_PATCH_FAILED = "the server rejected our request due to an error in our request"


def prepare(kind: str, raw: bytes, resource: Resource) -> Change:
    """A function from the object to the changed object."""
    try:
        change = orjson.loads(raw)
    except orjson.JSONDecodeError:
        raise errors.bad_request("error decoding patch: unexpected end of JSON input") from None
    if kind == "json":
        if not isinstance(change, list):
            what = "object" if isinstance(change, dict) else "string"
            go = "[]handlers.jsonPatchOp"
            raise errors.bad_request(f"error decoding patch: json: cannot unmarshal {what} into Go value of type {go}")
        return lambda obj: json_patch(obj, change)
    if not isinstance(change, dict):
        raise errors.bad_request(
            "error decoding patch: json: cannot unmarshal array into Go value of type map[string]interface {}"
        )
    if kind == "merge":
        return lambda obj: merge(obj, change)
    root = root_of(resource)
    if resource.custom:
        accepted = "application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml"
        why = f"the body of the request was in an unknown format - accepted media types include: {accepted}"
        raise errors.ApiError(415, "UnsupportedMediaType", why)
    return lambda obj: strategic(obj, change, root or "")


def merge(target: Any, change: Any) -> Any:
    if not isinstance(change, dict):
        return change
    result = dict(target) if isinstance(target, dict) else {}
    for key, value in change.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merge(result.get(key), value)
    return result


# JSON patch


def json_patch(obj: Any, operations: list[dict[str, Any]]) -> Any:
    try:
        for operation in operations:
            obj = _operate(obj, operation)
    except (KeyError, IndexError, ValueError, TypeError, AttributeError):
        raise errors.ApiError(422, "Invalid", JSON_PATCH_FAILED, {}) from None
    return obj


def _operate(obj: Any, operation: dict[str, Any]) -> Any:
    path = _pointer(operation["path"])
    match operation["op"]:
        case "test":
            if _at(obj, path) != operation.get("value"):
                raise ValueError
        case "remove":
            _remove(obj, path)
        case "add":
            return _add(obj, path, operation["value"])
        case "replace":
            _at(obj, path)
            return _add(obj, path, operation["value"], replace=True)
        case "move":
            return _add(obj, path, _remove(obj, _pointer(operation["from"])))
        case "copy":
            return _add(obj, path, copy.deepcopy(_at(obj, _pointer(operation["from"]))))
        case _:
            raise ValueError
    return obj


def _pointer(text: str) -> list[str]:
    if text and not text.startswith("/"):
        raise ValueError
    return [part.replace("~1", "/").replace("~0", "~") for part in text.split("/")[1:]]


def _at(obj: Any, path: list[str]) -> Any:
    for part in path:
        obj = obj[int(part)] if isinstance(obj, list) else obj[part]
    return obj


def _remove(obj: Any, path: list[str]) -> Any:
    parent = _at(obj, path[:-1])
    return parent.pop(int(path[-1])) if isinstance(parent, list) else parent.pop(path[-1])


def _add(obj: Any, path: list[str], value: Any, *, replace: bool = False) -> Any:
    if not path:
        return value
    parent, last = _at(obj, path[:-1]), path[-1]
    if not isinstance(parent, list):
        parent[last] = value
    elif replace:
        parent[int(last)] = value
    else:
        at = len(parent) if last == "-" else int(last)
        if not 0 <= at <= len(parent):
            raise IndexError
        parent.insert(at, value)
    return obj


# Strategic merge patch


def strategic(target: Any, change: dict[str, Any], type_name: str) -> dict[str, Any]:
    directive = change.get("$patch")
    if directive == "replace":
        return {key: value for key, value in change.items() if key != "$patch"}
    if directive == "delete":
        return {}
    result = dict(target) if isinstance(target, dict) else {}
    if "$retainKeys" in change:
        result = {key: value for key, value in result.items() if key in change["$retainKeys"]}
    known = fields(type_name)
    for key, value in change.items():
        if key.startswith("$"):
            _special(result, change, key, value, type_name)
            continue
        field = known.get(key)
        if value is None:
            result.pop(key, None)
        elif isinstance(value, dict) and field is not None and field.shape != "list":
            inner = field.type if field.shape == "" else ""
            result[key] = strategic(result.get(key), value, inner)
        elif isinstance(value, list) and field is not None and field.merge_key:
            order = change.get(f"$setElementOrder/{key}")
            result[key] = _merge_lists(result.get(key) or [], value, field.merge_key, field.type, order)
        else:
            result[key] = value
    return result


def _special(result: dict[str, Any], change: dict[str, Any], key: str, value: Any, type_name: str) -> None:
    directive, _, name = key.partition("/")
    if directive == "$deleteFromPrimitiveList" and name in result:
        result[name] = [item for item in result[name] if item not in value]
    elif directive == "$setElementOrder" and name in result and name not in change:
        field = fields(type_name).get(name)
        if field is not None:
            result[name] = _merge_lists(result[name], [], field.merge_key, field.type, value)


def _merge_lists(server: list[Any], items: list[Any], key: str, type_name: str, order: list[Any] | None) -> list[Any]:
    if key == "*":
        kept = [*server, *(item for item in items if item not in server)]
        return _ordered(kept, server, order or items, lambda item: item)
    if any(isinstance(item, dict) and item.get("$patch") == "replace" for item in items):
        return [item for item in items if "$patch" not in item]
    merged = {item.get(key): item for item in server}
    for item in items:
        if not isinstance(item, dict) or key not in item:
            raise errors.bad_request(f"map: {item} does not contain declared merge key: {key}")
        if item.get("$patch") == "delete":
            merged.pop(item[key], None)
        else:
            merged[item[key]] = strategic(merged.get(item[key]), item, type_name)
    return _ordered(list(merged.values()), server, order or items, lambda item: item.get(key))


def _ordered(merged: list[Any], server: list[Any], wanted: list[Any], key: Callable[[Any], Any]) -> list[Any]:
    """What the patch names comes in its order; what it does not stays where the server had it, relative to it."""
    position = {key(item): i for i, item in enumerate(server)}
    names = {key(item): i for i, item in enumerate(wanted)}
    left = sorted((item for item in merged if key(item) in names), key=lambda item: names[key(item)])
    right = [item for item in merged if key(item) not in names]
    result: list[Any] = []
    while left and right:
        before = position.get(key(left[0]))
        take_right = before is not None and before > position.get(key(right[0]), -1)
        result.append(right.pop(0) if take_right else left.pop(0))
    return [*result, *left, *right]
