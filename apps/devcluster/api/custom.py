"""The life of custom resources: a stored definition is served, and takes its objects with it when it goes.

Sources: pkg/apiserver/customresource_handler.go and pkg/controller/{status,establish,finalizer} of
k8s.io/apiextensions-apiserver.
"""

from __future__ import annotations

import asyncio

from . import errors
from .call import SYSTEM, Call, DeleteOptions
from .definitions import CLEANUP, KEY, rows, settle
from .errors import Cause
from .objects import Objects
from .registry import Resource
from .store import Event, Object


class Definitions:
    """Keeps the registry in step with the stored definitions, and their conditions with both."""

    def __init__(self, objects: Objects) -> None:
        self._objects, self._rows = objects, dict[str, list[Resource]]()
        for stored in objects.store.each(KEY):
            self._serve(stored)  # a restart
        objects.store.observe(self._notice)

    def _notice(self, event: Event) -> None:
        if event.resource == KEY:
            # Not now: a change must be stored before it has consequences.
            asyncio.get_running_loop().call_soon(self._follow, event.key[1])
        elif self._is_last(event):
            asyncio.get_running_loop().call_soon(self._follow, event.resource)

    def _is_last(self, event: Event) -> bool:
        return (
            event.type == "DELETED" and event.resource in self._rows and not self._objects.store.items(event.resource)
        )

    def _follow(self, name: str) -> None:
        definition = self._objects.store.get(KEY, "", name)
        if definition is None:
            self._forget(name)
        elif "deletionTimestamp" in definition.obj["metadata"]:
            self._clean_up(name)
        else:
            self._serve(definition.obj)
            self._accept(name)

    def _serve(self, definition: Object) -> None:
        name = definition["metadata"]["name"]
        self._forget(name)
        if not self._conflict(definition):
            self._rows[name] = rows(definition)
            for row in self._rows[name]:
                self._objects.registry.add(row)

    def _forget(self, name: str) -> None:
        for row in self._rows.pop(name, ()):
            self._objects.registry.remove(row)

    def _conflict(self, definition: Object) -> str:
        """The first kind of its group that another definition has taken."""
        spec = definition["spec"]
        taken = {
            row.kind for row in self._objects.registry.of_group(spec["group"]) if row.plural != spec["names"]["plural"]
        }
        return spec["names"]["kind"] if spec["names"]["kind"] in taken else ""

    def _accept(self, name: str) -> None:
        def told(obj: Object) -> Object:
            status = obj.setdefault("status", {})
            if taken := self._conflict(obj):
                settle(status, "NamesAccepted", "KindConflict", f'"{taken}" is already in use', "False")
                settle(status, "Established", "NotAccepted", "not all names are accepted", "False")
                return obj
            status["acceptedNames"] = obj["spec"]["names"]
            settle(status, "NamesAccepted", "NoConflicts", "no conflicts found")
            settle(status, "Established", "InitialNamesAccepted", "the initial names have been accepted")
            return obj

        self._objects.update(self._row(), "", name, told, Call(SYSTEM, subresource="status"))

    def _clean_up(self, name: str) -> None:
        """Delete the objects; once the last is gone the definition may go, and with it what was served."""
        row = next(iter(self._rows.get(name, ())), None)
        for (namespace, each), stored in self._objects.store.items(name) if row else ():
            if "deletionTimestamp" not in stored.obj["metadata"]:
                self._objects.delete(row, namespace, each, DeleteOptions(), Call(SYSTEM))
        if self._objects.store.items(name):
            return

        def released(obj: Object) -> Object:
            finalizers = [f for f in obj["metadata"].get("finalizers") or () if f != CLEANUP]
            obj["metadata"]["finalizers"] = finalizers
            return obj

        self._objects.update(self._row(), "", name, released, Call(SYSTEM))

    def _row(self) -> Resource:
        return self._objects.registry.find("apiextensions.k8s.io", "v1", "customresourcedefinitions")


def refuse_without_version(resource: Resource, name: str, obj: Object) -> None:
    """Custom resources know no unconditional update."""
    if resource.custom and not (obj.get("metadata") or {}).get("resourceVersion"):
        cause = Cause.invalid("metadata.resourceVersion", "0", "must be specified for an update")
        raise errors.invalid(resource.plural, resource.group, name, [cause])


def refuse_other_kind(resource: Resource, body: Object) -> None:
    claimed = body.get("kind") or ""
    if resource.custom and claimed != resource.kind:
        name = (body.get("metadata") or {}).get("name", "")
        cause = Cause.invalid("kind", f'"{claimed}"', f"must be {resource.kind}")
        raise errors.invalid(claimed, resource.group, name, [cause])
