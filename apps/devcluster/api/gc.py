"""Garbage collection by ownerReferences: what has lost every owner goes; Foreground and Orphan as asked.

It runs inside the API server because the store already knows who depends on whom; a separate controller would
have to rebuild that graph from watches. Source for the rules: pkg/controller/garbagecollector.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import structlog

from . import errors
from .call import SYSTEM, Call, DeleteOptions
from .objects import Objects
from .registry import Registry, Resource
from .store import Event, Key, Object

log = structlog.get_logger(__name__)
Node = tuple[str, Key]
FINALIZERS = ("orphan", "foregroundDeletion")


class GarbageCollector:
    def __init__(self, objects: Objects) -> None:
        self._objects, self._store = objects, objects.store
        self._queue: asyncio.Queue[Node] = asyncio.Queue()
        self._queued: set[Node] = set()
        self._store.observe(self._notice)
        for resource in objects.registry.stored():  # what a restart interrupted
            for key, stored in self._store.items(resource.key):
                if _interesting(stored.obj["metadata"]):
                    self._enqueue((resource.key, key))

    def _notice(self, event: Event) -> None:
        metadata = event.now.obj["metadata"]
        if event.type == "DELETED":
            for node in self._store.dependents(metadata["uid"]):
                self._enqueue(node)
            for owner in metadata.get("ownerReferences") or ():
                if found := self._store.by_uid(owner.get("uid", "")):
                    self._enqueue(found)
        elif _interesting(metadata):
            self._enqueue((event.resource, event.key))

    def _enqueue(self, node: Node) -> None:
        if node not in self._queued:
            self._queued.add(node)
            self._queue.put_nowait(node)

    async def run(self) -> None:
        while True:
            node = await self._queue.get()
            self._queued.discard(node)
            try:
                self._process(node)
            except errors.ApiError as refusal:
                log.warning("devcluster_gc_refused", node=node, error=refusal.message)
            if self._queue.empty():
                await self._store.committed()
            else:
                await asyncio.sleep(0)  # a big collection must not hold up requests

    def _process(self, node: Node) -> None:
        resource = _resource(self._objects.registry, node[0])
        stored = self._store.get(node[0], *node[1])
        if stored is None or resource is None:
            return
        metadata = stored.obj["metadata"]
        if "deletionTimestamp" in metadata:
            finalizers = metadata.get("finalizers") or ()
            if "orphan" in finalizers:
                self._orphan(resource, node, metadata)
            elif "foregroundDeletion" in finalizers:
                self._foreground(resource, node, metadata)
        else:
            self._collect_if_ownerless(resource, node, metadata)

    def _collect_if_ownerless(self, resource: Resource, node: Node, metadata: Object) -> None:
        owners = metadata.get("ownerReferences") or []
        present = [owner for owner in owners if self._exists(owner, node[1][0])]
        if not owners or present:
            return
        # A dependent keeps the policy that its own finalizers ask for; without any it goes in the background.
        finalizers = metadata.get("finalizers") or ()
        policy = "Foreground" if "foregroundDeletion" in finalizers else "Background"
        self._delete(resource, node, metadata, "Orphan" if "orphan" in finalizers else policy)

    def _exists(self, owner: dict[str, Any], namespace: str) -> bool:
        found = self._store.by_uid(owner.get("uid", ""))
        return found is not None and found[1][0] in ("", namespace)

    def _orphan(self, resource: Resource, node: Node, metadata: Object) -> None:
        for dependent in self._store.dependents(metadata["uid"]):
            if kind := _resource(self._objects.registry, dependent[0]):
                self._change(kind, dependent, lambda obj: _without_owner(obj, metadata["uid"]))
        self._change(resource, node, lambda obj: _without_finalizer(obj, "orphan"))

    def _foreground(self, resource: Resource, node: Node, metadata: Object) -> None:
        blocked = False
        for dependent in self._store.dependents(metadata["uid"]):
            kind, stored = (
                _resource(self._objects.registry, dependent[0]),
                self._store.get(dependent[0], *dependent[1]),
            )
            if kind is None or stored is None:
                continue
            theirs = stored.obj["metadata"]
            blocked |= any(
                o.get("blockOwnerDeletion") for o in theirs["ownerReferences"] if o["uid"] == metadata["uid"]
            )
            if "deletionTimestamp" not in theirs:
                self._delete(
                    kind,
                    dependent,
                    theirs,
                    "Foreground" if self._store.dependents(theirs["uid"]) else "Background",
                )
        still = blocked and any(self._store.get(d[0], *d[1]) for d in self._store.dependents(metadata["uid"]))
        if not still:
            self._change(resource, node, lambda obj: _without_finalizer(obj, "foregroundDeletion"))

    def _delete(self, resource: Resource, node: Node, metadata: Object, policy: str) -> None:
        options = DeleteOptions(policy=policy, uid=metadata["uid"])
        with contextlib.suppress(errors.ApiError):
            self._objects.delete(resource, *node[1], options, Call(SYSTEM))

    def _change(self, resource: Resource, node: Node, change: Any) -> None:
        with contextlib.suppress(errors.ApiError):
            self._objects.update(resource, *node[1], change, Call(SYSTEM))


def _interesting(metadata: Object) -> bool:
    if "deletionTimestamp" in metadata:
        return any(f in FINALIZERS for f in metadata.get("finalizers") or ())
    return bool(metadata.get("ownerReferences"))


def _resource(registry: Registry, key: str) -> Resource | None:
    return next((r for r in registry.stored() if r.key == key), None)


def _without_owner(obj: Object, uid: str) -> Object:
    kept = [owner for owner in obj["metadata"].get("ownerReferences") or () if owner["uid"] != uid]
    obj["metadata"]["ownerReferences"] = kept
    return obj


def _without_finalizer(obj: Object, finalizer: str) -> Object:
    obj["metadata"]["finalizers"] = [f for f in obj["metadata"].get("finalizers") or () if f != finalizer]
    return obj
