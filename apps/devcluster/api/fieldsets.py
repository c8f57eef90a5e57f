"""Sets of fields as `fieldsV1` spells them, and what two objects have and have not in common.

A node `{}` is one owned field. A node with children is owned itself only where it holds `.` too. The rules are those of
sigs.k8s.io/structured-merge-diff (fieldpath.Set, typed.Compare, typed.ToFieldSet).
"""

from __future__ import annotations

from typing import Any, Final

import orjson

from .shapes import Shape

Node = dict[str, Any]
ME = "."
MISSING: Final = object()
NO_SET: Node = {}


def owns(node: Node) -> bool:
    return not node or ME in node


def _member(children: Node) -> Node:
    return {ME: {}, **children} if children else {}


def is_set(node: Any) -> bool:
    return isinstance(node, dict) and all(_is_key(key) and is_set(inner) for key, inner in node.items())


def _is_key(key: str) -> bool:
    """`.`, or a field, or an item by its keys or its value."""
    if key[:2] not in ("k:", "v:"):
        return key == ME or key.startswith("f:")
    try:
        return isinstance(orjson.loads(key[2:]), dict) or key[0] == "v"
    except orjson.JSONDecodeError:
        return False


def union(first: Node, second: Node) -> Node:
    """Both sets together; an empty one here is a set of nothing, not a field."""
    return _union(first, second) if first and second else first or second


def _union(first: Node, second: Node) -> Node:
    both = {**second, **first}
    for key in first.keys() & second.keys() - {ME}:
        both[key] = _union(first[key], second[key])
    return _member({k: v for k, v in both.items() if k != ME}) if owns(first) or owns(second) else both


def difference(first: Node, second: Node) -> Node:
    """Fields of `first` that are not in `second`."""
    return (_difference(first, second) or NO_SET) if first and second else first


def _difference(first: Node, second: Node) -> Node | None:
    left: Node = {}
    for key, inner in first.items():
        rest = _difference(inner, second[key]) if key in second and key != ME else inner
        if key != ME and rest is not None:
            left[key] = rest
    if owns(first) and not owns(second):
        return _member(left)
    return left or None


def intersection(first: Node, second: Node) -> Node:
    """Fields that are in both."""
    return (_intersection(first, second) or NO_SET) if first and second else NO_SET


def _intersection(first: Node, second: Node) -> Node | None:
    common: Node = {}
    for key in first.keys() & second.keys() - {ME}:
        if (inner := _intersection(first[key], second[key])) is not None:
            common[key] = inner
    if owns(first) and owns(second):
        return _member(common)
    return common or None


def paths(node: Node, path: str = "") -> list[str]:
    """Every field of a set, as a message names it."""
    found = [path] if path and owns(node) else []
    for key in sorted(node.keys() - {ME}):
        found += paths(node[key], path + shown(key))
    return found


def shown(key: str) -> str:
    if key.startswith("f:"):
        return f".{key[2:]}"
    value = orjson.loads(key[2:])
    if key.startswith("v:"):
        return f"[={orjson.dumps(value).decode()}]"
    return "[" + ",".join(f"{name}={orjson.dumps(each).decode()}" for name, each in value.items()) + "]"


def item_key(item: Any, shape: Shape) -> str:
    """How an item of a list is named in a set."""
    if shape.form == "set" or not isinstance(item, dict):
        return "v:" + orjson.dumps(item).decode()
    found = {key: item.get(key, "TCP" if key == "protocol" else None) for key in shape.keys}
    named = {key: value for key, value in found.items() if value is not None}
    return "k:" + orjson.dumps(named, option=orjson.OPT_SORT_KEYS).decode()


def children(value: Any, shape: Shape) -> dict[str, tuple[Any, Shape]] | None:
    """What a value is owned by, part by part; None where it is owned as a whole."""
    if shape.form in ("struct", "map", "any") and (value is None or isinstance(value, dict)):
        return {f"f:{name}": (item, shape.child(name)) for name, item in (value or {}).items()}
    if shape.form in ("keyed", "set") and (value is None or isinstance(value, list)):
        return {item_key(item, shape): (item, shape.item) for item in value or ()}
    return None


def claimed(value: Any, shape: Shape) -> Node:
    """The fields an applied configuration sets."""
    return _claimed(value, shape) or NO_SET


def _claimed(value: Any, shape: Shape) -> Node | None:
    parts = children(value, shape)
    if parts is None:
        return {}
    found: Node = {}
    for key, (item, inner) in parts.items():
        node = _claimed(item, inner)
        declared = shape.form == "struct" and key[2:] in shape.fields
        if not declared or item is None or item == {}:
            found[key] = _member(node or {})
        elif node is not None:
            found[key] = node
    return found or None


def compare(old: Any, new: Any, shape: Shape) -> tuple[Node, Node]:
    """The fields that `new` adds or changes, and those it no longer has."""
    changed, removed = _compare(old, new, shape)
    return changed or NO_SET, removed or NO_SET


def _compare(old: Any, new: Any, shape: Shape) -> tuple[Node | None, Node | None]:
    if old == new and old is not MISSING:
        return None, None
    if shape.form == "leaf":  # most are, and this is on the way of every write from outside
        return (None, {}) if new is MISSING else ({}, None)
    before = children(None if old is MISSING else old, shape)
    after = children(None if new is MISSING else new, shape)
    if before is None or after is None or not (before or after):
        return (None, {}) if new is MISSING else ({}, None)
    changed: Node = {}
    removed: Node = {}
    for key in after | before:
        now, inner = after.get(key) or (MISSING, before[key][1])
        was = before[key][0] if key in before else MISSING
        added, gone = _compare(was, now, inner)
        if added is not None:
            changed[key] = added
        if gone is not None:
            removed[key] = gone
    if old is MISSING:
        return _member(changed), removed or None
    if new is MISSING:
        return changed or None, _member(removed)
    return changed or None, removed or None
