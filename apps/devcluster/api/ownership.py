"""Who owns which fields: the entries of `metadata.managedFields`, after an update and after an apply.

Tracked are the writes of clients outside; the cluster's own components leave no entry and take none away. An object
they made begins without owners and, as in a real server for objects older than the tracking, stays so until somebody
applies to it: then `before-first-apply` owns what was there.
Source: k8s.io/apimachinery/pkg/util/managedfields/internal.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from . import errors, fieldsets, shapes
from .clock import timestamp
from .fieldsets import Node, difference, intersection, union
from .registry import Resource

Entry = dict[str, Any]
Object = dict[str, Any]
APPLY, UPDATE = "Apply", "Update"
BEFORE_FIRST_APPLY, ANCIENT = "before-first-apply", "ancient-changes"
MAX_UPDATERS = 10
# What belongs to nobody: an object's identity and what only the server writes.
STRIPPED = (
    "name", "namespace", "creationTimestamp", "selfLink", "uid", "clusterName", "generation", "managedFields",
    "resourceVersion",
)  # fmt: skip
IDENTITY: Node = {"f:apiVersion": {}, "f:kind": {}, "f:metadata": {".": {}, **{f"f:{name}": {} for name in STRIPPED}}}


@dataclass(frozen=True, slots=True)
class Owner:
    """Who writes, and through which door."""

    resource: Resource
    manager: str
    subresource: str = ""

    def entry(self, operation: str, fields: Node, time: str | None) -> Entry:
        head = {"manager": self.manager, "operation": operation, "apiVersion": self.resource.api_version}
        found: Entry = {**head, "time": time, "fieldsType": "FieldsV1", "fieldsV1": fields}
        if time is None:
            del found["time"]
        return {**found, "subresource": self.subresource} if self.subresource else found

    def updated(self, old: Object | None, new: Object) -> list[Entry]:
        """The entries once `new` has taken the place of `old`, or was created."""
        entries = self._entries(old, new)
        if old is not None and not entries:
            return []
        changed, removed = self.compare(shapes.zero(self.resource) if old is None else old, new)
        if not changed and not removed:
            return ordered(entries)
        mine = self.entry(UPDATE, fieldsets.NO_SET, timestamp())
        kept = _without(entries, changed, removed)
        had = next((e for e in kept if identity(e) == identity(mine)), None)
        if changed:
            mine["fieldsV1"] = union(had["fieldsV1"], changed) if had else changed
            kept = [*(e for e in kept if e is not had), mine]
        return ordered(_capped(kept))

    def compare(self, old: Object, new: Object) -> tuple[Node, Node]:
        changed, removed = fieldsets.compare(old, new, shapes.of(self.resource))
        return self.owned(changed), self.owned(removed)

    def owned(self, fields: Node) -> Node:
        """Of some fields those that this door can set, and that anybody may own."""
        fields = difference(fields, IDENTITY)
        if self.subresource == "status":
            return {k: v for k, v in fields.items() if k == "f:status" or (k == "f:metadata" and not self._custom)}
        return {k: v for k, v in fields.items() if k != "f:status"} if self.resource.has_status else fields

    @property
    def _custom(self) -> bool:
        return self.resource.custom is not None

    def _entries(self, old: Object | None, new: Object) -> list[Entry]:
        """Those of the request, if it sends any that can be read (`[{}]`: none); else those that are there."""
        live = (old or {}).get("metadata", {}).get("managedFields") or []
        given = None if self.subresource else new["metadata"].get("managedFields")
        if given == [{}]:
            return []
        return given if given and all(map(readable, given)) else live


def readable(entry: Entry) -> bool:
    known = entry.get("operation") in (APPLY, UPDATE) and entry.get("fieldsType") == "FieldsV1"
    return bool(known and entry.get("apiVersion") and entry.get("manager") and fieldsets.is_set(entry.get("fieldsV1")))


def identity(entry: Entry) -> tuple[str, str, str, str]:
    """An applier stays the same one when the version changes."""
    version = entry["apiVersion"] if entry["operation"] == UPDATE else ""
    return entry["manager"], entry["operation"], version, entry.get("subresource", "")


def ordered(entries: Iterable[Entry]) -> list[Entry]:
    def place(entry: Entry) -> tuple[str, str, str, str, str]:
        rest = entry["manager"], entry["apiVersion"], entry.get("subresource", "")
        return entry["operation"], entry.get("time") or "", *rest

    return sorted(entries, key=place)


def _without(entries: Iterable[Entry], *lost: Node) -> list[Entry]:
    """What the entries still own; one that owns nothing goes."""
    kept = []
    for entry in entries:
        fields = entry["fieldsV1"]
        for each in lost:
            fields = difference(fields, each)
        if fields:
            kept.append({**entry, "fieldsV1": fields})
    return kept


def _capped(entries: list[Entry]) -> list[Entry]:
    """At most ten updaters are told apart; the oldest of more become one."""
    updaters = [e for e in ordered(entries) if e["operation"] == UPDATE]
    old = updaters[: len(updaters) - MAX_UPDATERS + 1] if len(updaters) > MAX_UPDATERS else []
    merged: dict[str, Entry] = {}
    for entry in old:
        version = entry["apiVersion"]
        before = merged.get(version, {"fieldsV1": fieldsets.NO_SET})
        merged[version] = {**entry, "manager": ANCIENT, "fieldsV1": union(before["fieldsV1"], entry["fieldsV1"])}
        merged[version].pop("subresource", None)
    return [*(e for e in entries if not any(e is each for each in old)), *merged.values()]


# Apply


def first_entries(owner: Owner, live: Object) -> list[Entry]:
    """The entries before an apply: what nobody has owned so far was there before."""
    entries = live["metadata"].get("managedFields") or []
    if entries:
        return list(entries)
    before = Owner(owner.resource, BEFORE_FIRST_APPLY)
    fields, _ = before.compare(shapes.zero(owner.resource), live)
    return [before.entry(UPDATE, fields, timestamp())] if fields else []


def conflicts(entries: Iterable[Entry], mine: Entry, changed: Node) -> list[tuple[Entry, Node]]:
    """What an apply would change although others own it."""
    others = sorted((e for e in entries if identity(e) != identity(mine)), key=identity)
    found = ((entry, intersection(entry["fieldsV1"], changed)) for entry in others)
    return [(entry, fields) for entry, fields in found if fields]


def refusal(found: list[tuple[Entry, Node]]) -> errors.ApiError:
    listed = [(_named(entry), path) for entry, fields in found for path in fieldsets.paths(fields)]
    causes = [{"reason": "FieldManagerConflict", "message": f"conflict with {who}", "field": p} for who, p in listed]
    if len(listed) == 1:
        what = f"1 conflict: conflict with {listed[0][0]}: {listed[0][1]}"
    else:
        lines = []
        for entry, fields in found:
            lines += [f"conflicts with {_named(entry)}:", *(f"- {path}" for path in fieldsets.paths(fields))]
        what = f"{len(listed)} conflicts: " + "\n".join(lines)
    return errors.ApiError(409, "Conflict", f"Apply failed with {what}", {"causes": causes})


def _named(entry: Entry) -> str:
    name = f'"{entry["manager"]}"'
    if entry.get("subresource"):
        name += f' with subresource "{entry["subresource"]}"'
    return f"{name} using {entry['apiVersion']}" if entry["operation"] == UPDATE else name


def applied(entries: list[Entry], mine: Entry, changed: Node, removed: Node) -> list[Entry]:
    """The entries after an apply that changed this much: others lose what was taken from them."""
    others = [e for e in entries if identity(e) != identity(mine)]
    own = [mine] if mine["fieldsV1"] else []
    return ordered([*_without(others, changed, removed), *own])
