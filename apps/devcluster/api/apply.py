"""Server-side apply: create or merge, and take out what this applier set before, wants no more, and nobody else owns.

Source of the rules: sigs.k8s.io/structured-merge-diff (merge.Updater) and k8s.io/apimachinery/pkg/util/managedfields.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import reduce
from typing import Any

import orjson
from aiohttp import web

from . import errors, fieldsets, ownership, schema, shapes
from . import request as asked
from .call import Call
from .clock import timestamp
from .errors import Cause
from .fieldsets import NO_SET, Node, claimed, difference, union
from .objects import Objects
from .ownership import APPLY, Entry, Owner
from .request import Target
from .shapes import Shape
from .store import Object, Stored

# kubectl's own client-side apply leaves this; its server-side apply takes over from it without a conflict.
KUBECTL, LAST_APPLIED = "kubectl", "kubectl.kubernetes.io/last-applied-configuration"


def serve(
    objects: Objects, request: web.Request, target: Target, raw: bytes, call: Call
) -> tuple[Stored, bool, list[str]]:
    manager = request.query.get("fieldManager", "")
    if not manager:
        cause = Cause.required("fieldManager", "is required for apply patch")
        raise errors.invalid_options("PatchOptions", [cause])
    resource = target.resource
    body = asked.parse_yaml(raw, resource.kind)
    _check_body(target, body)
    wanted, warnings = asked.decode(request, target, body, b"")
    wanted.setdefault("metadata", {})
    owner = Owner(resource, manager, target.subresource)
    fields = owner.owned(claimed(wanted, shapes.of(resource)))
    if objects.store.get(resource.key, target.namespace, target.name) is None:
        if target.subresource:
            raise errors.not_found(resource.plural, resource.group, target.name)
        asked.check_names(target, wanted)
        entries = [owner.entry(APPLY, fields, timestamp())] if fields else []
        call = replace(call, owns=lambda old, new: entries)
        return objects.create(resource, target.namespace, wanted, call), True, warnings
    apply = Application(owner, wanted, fields, force=asked.flag(request, "force"))

    def merged(live: Object) -> Object:
        result = apply.to(live)
        asked.check_names(target, wanted)  # after the conflicts, in the order in which a real server complains
        return result

    call = replace(call, owns=lambda old, new: apply.entries)
    return objects.update(resource, target.namespace, target.name, merged, call), False, warnings


@dataclass(slots=True)
class Application:
    """One configuration on its way into an object. `entries`: the owners afterwards."""

    owner: Owner
    wanted: Object
    fields: Node
    force: bool = False
    entries: list[Entry] | tuple[Entry, ...] = ()

    def to(self, live: Object) -> Object:
        """The object as it becomes; refuses to change what others own."""
        entries = ownership.first_entries(self.owner, live)
        mine = self.owner.entry(APPLY, self.fields, timestamp())
        had = next((e for e in entries if ownership.identity(e) == ownership.identity(mine)), None)
        result = self._merged(live, entries, had)
        changed, removed = self.owner.compare(live, result)
        conflicts = ownership.conflicts(entries, mine, changed)
        if conflicts and not self.force and not self._continues(live, conflicts):
            raise ownership.refusal(conflicts)
        if not changed and not removed:
            mine.pop("time")  # What changes nothing keeps the time of what did, if anything did.
            mine |= {"time": had["time"]} if had and "time" in had else {}
        elif self.owner.manager == KUBECTL and LAST_APPLIED in (live["metadata"].get("annotations") or {}):
            result["metadata"]["annotations"][LAST_APPLIED] = orjson.dumps(self.wanted).decode() + "\n"
        self.entries = ownership.applied(entries, mine, changed, removed)
        if version := self.wanted["metadata"].get("resourceVersion"):
            result["metadata"]["resourceVersion"] = version
        return result

    def _merged(self, live: Object, entries: list[Entry], had: Entry | None) -> Object:
        shape = shapes.of(self.owner.resource)
        metadata = {k: v for k, v in self.wanted["metadata"].items() if k not in ownership.STRIPPED}
        content = {k: v for k, v in self.wanted.items() if k not in ("kind", "apiVersion", "metadata")}
        result: Object = merge(live, {**content, "metadata": metadata}, shape)
        if had is None:
            return result
        kept = reduce(union, (e["fieldsV1"] for e in entries if e is not had), self.fields)
        pruned: Object = prune(result, had["fieldsV1"], kept, shape)
        return pruned

    def _continues(self, live: Object, conflicts: list[tuple[Entry, Node]]) -> bool:
        """May kubectl take these fields because it had set them itself, in the way it applied before?"""
        text = (live["metadata"].get("annotations") or {}).get(LAST_APPLIED)
        if self.owner.manager != KUBECTL or not text:
            return False
        try:
            last = orjson.loads(text)
            shape = shapes.of(self.owner.resource)
            changed, removed = fieldsets.compare(last, live, shape)
            allowed = difference(difference(claimed(last, shape), changed), removed)
        except (ValueError, AttributeError):
            return False
        return not any(difference(fields, allowed) for _, fields in conflicts)


def merge(live: Any, wanted: Any, shape: Shape) -> Any:
    """`wanted` laid over `live`: described parts one by one, all else as a whole. Shares what it does not change."""
    if isinstance(wanted, dict) and shape.form in ("struct", "map", "any"):
        result = dict(live) if isinstance(live, dict) else {}
        for name, item in wanted.items():
            result[name] = merge(result.get(name), item, shape.child(name))
        return result
    if isinstance(wanted, list) and shape.form in ("keyed", "set"):
        known = {fieldsets.item_key(item, shape): item for item in live or ()}
        for item in wanted:
            key = fieldsets.item_key(item, shape)
            known[key] = merge(known.get(key), item, shape.item)
        return list(known.values())
    return wanted


def prune(value: Any, had: Node, kept: Node, shape: Shape) -> Any:
    """The value without what is in `had` and not in `kept`. A field with owned fields inside is in a set, an item is
    where it says so."""
    parts = fieldsets.children(value, shape)
    if not had or not parts:
        return value
    left: dict[str, Any] = {}
    for key, (item, inner) in parts.items():
        mine, theirs = had.get(key), kept.get(key)
        if mine is None:
            left[key] = item
        elif theirs is not None or not (key.startswith("f:") or fieldsets.owns(mine)):
            left[key] = prune(item, mine, theirs or NO_SET, inner)
    return {key[2:]: item for key, item in left.items()} if isinstance(value, dict) else list(left.values())


# What an applied configuration must be


def _check_body(target: Target, body: Object) -> None:
    """Apply owns fields by their type, so what has another type or none is an error whatever fieldValidation says."""
    resource = target.resource
    version, kind = body.get("apiVersion") or "", body.get("kind") or ""
    if (version, kind) != (resource.api_version, resource.kind):
        group, _, version = str(version).rpartition("/")
        raise errors.bad_request(f"invalid object type: {group}/{version}, Kind={kind}")
    metadata = body.get("metadata") if isinstance(body.get("metadata"), dict) else {}
    if metadata and metadata.get("managedFields"):
        raise errors.bad_request("metadata.managedFields must be nil")
    complaints = list(_mistyped(body, shapes.of(resource), ""))
    if not complaints:
        try:
            complaints = [f".{path}: field not declared in schema" for path in schema.decode(resource, body)[1]]
        except errors.ApiError as refusal:
            complaints = [refusal.message]
    if complaints:
        namespace, name = (_text((metadata or {}).get(part)) for part in ("namespace", "name"))
        what = f"{namespace}/{name}; {resource.group}/{resource.version}, Kind={resource.kind}"
        told = complaints[0] if len(complaints) == 1 else "errors:\n" + "\n".join(f"  {each}" for each in complaints)
        raise errors.ApiError(500, None, f"failed to create typed patch object ({what}): {told}")


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _mistyped(value: Any, shape: Shape, path: str) -> list[str]:
    if value is None:
        return []
    wanted = {"struct": "map", "map": "map", "keyed": "list", "set": "list"}.get(shape.form, shape.scalar)
    if (wanted and not isinstance(value, EXPECTED[wanted][0])) or (wanted == "numeric" and isinstance(value, bool)):
        return [f"{path}: expected {EXPECTED[wanted][1].format(go=_go(value), plain=_go(value).strip(chr(34)))}"]
    found: list[str] = []
    if shape.form in ("keyed", "set"):
        keys = [fieldsets.item_key(item, shape) for item in value]
        twice = dict.fromkeys(key for key in keys if keys.count(key) > 1)
        found += [f"{path}: duplicate entries for key {fieldsets.shown(key)}" for key in twice]
    for key, (item, inner) in (fieldsets.children(value, shape) or {}).items():
        found += _mistyped(item, inner, path + fieldsets.shown(key))
    return found


EXPECTED: dict[str, tuple[type | tuple[type, ...], str]] = {
    "map": (dict, "map, got &{{{plain}}}"),
    "list": (list, "list, got &{{{plain}}}"),
    "string": (str, "string, got &value.valueUnstructured{{Value:{go}}}"),
    "boolean": (bool, "boolean, got &{{{plain}}}"),
    "numeric": ((int, float), "numeric (int or float), got {plain}"),
}


def _go(value: Any) -> str:
    """A scalar as Go's %#v prints it."""
    return orjson.dumps(value).decode()
