"""The verbs, whoever asks: create, update, delete, with what the generic registry of an API server does around them.

Source for the order of things: k8s.io/apiserver/pkg/registry/generic/registry/store.go and .../registry/rest.
"""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson

from . import admission, defaults, definitions, errors, validate
from .call import Call, DeleteOptions
from .clock import timestamp
from .registry import Registry, Resource
from .store import Object, Store, Stored

SUFFIX_LETTERS = "bcdfghjklmnpqrstvwxz2456789"  # k8s.io/apimachinery/pkg/util/rand: no vowels, no words
GC_FINALIZERS = {"Orphan": "orphan", "Foreground": "foregroundDeletion"}
SYSTEM_FIELDS = (
    "uid", "creationTimestamp", "generation", "deletionTimestamp", "deletionGracePeriodSeconds", "selfLink",
)  # fmt: skip


def copy_of(stored: Stored) -> Object:
    """A private copy; parsing the bytes is faster than walking the object."""
    found: Object = orjson.loads(stored.raw)
    return found


class Objects:
    def __init__(self, store: Store, registry: Registry) -> None:
        self.store, self.registry = store, registry

    def find(self, resource: Resource, namespace: str, name: str) -> Stored:
        stored = self.store.get(resource.key, namespace, name)
        if stored is None:
            raise errors.not_found(resource.plural, resource.group, name)
        return stored

    # Create

    def create(self, resource: Resource, namespace: str, obj: Object, call: Call) -> Stored:
        self._begin_life(resource, namespace, obj)
        defaults.fill(resource, obj)
        _settle_owners(None, obj, call)
        defaults.begin(self.store, resource, obj)
        admission.admit(self.store, resource, namespace, obj, None, call)
        defaults.finish(resource, obj)
        name = obj["metadata"].get("name", "")
        if causes := validate.on_create(resource, obj):
            raise errors.invalid(resource.kind, resource.group, name, causes)
        admission.check(self.store, resource, namespace, obj, None, call)
        existing = self.store.get(resource.key, namespace, name)
        if existing is not None:
            error = errors.already_exists(resource.plural, resource.group, name)
            if "deletionTimestamp" in existing.obj["metadata"]:
                error.message = f"object is being deleted: {error.message}"
            raise error
        if call.dry_run:
            return _unstored(obj, 0)
        return self.store.put(resource.key, (namespace, name), obj)

    def _begin_life(self, resource: Resource, namespace: str, obj: Object) -> None:
        metadata = obj.setdefault("metadata", {})
        if metadata.pop("resourceVersion", ""):
            raise ApiErrorWithoutReason("resourceVersion should not be set on objects to be created")
        for unwanted in SYSTEM_FIELDS:
            metadata.pop(unwanted, None)
        if namespace:
            metadata["namespace"] = namespace
        else:
            metadata.pop("namespace", None)
        prefix = metadata.get("generateName")
        if prefix and not metadata.get("name"):
            metadata["name"] = prefix[:58] + "".join(secrets.choice(SUFFIX_LETTERS) for _ in range(5))
        metadata["uid"] = str(uuid.uuid4())
        metadata["creationTimestamp"] = timestamp()
        if resource.generation:
            metadata["generation"] = 1
        _drop_empty(metadata)

    # Update

    def update(
        self, resource: Resource, namespace: str, name: str, change: Callable[[Object], Object], call: Call
    ) -> Stored:
        """Replace the object by what `change` makes of a copy of it."""
        stored = self.find(resource, namespace, name)
        wanted = change(copy_of(stored))
        self._check_versions(resource, stored, wanted, name)
        obj = self._carry_over(resource, stored.obj, wanted, call)
        if call.subresource not in ("status", "finalize"):
            defaults.keep(resource, obj, stored.obj)
            defaults.fill(resource, obj)
        _settle_owners(stored.obj, obj, call)
        if obj == stored.obj:
            return stored
        admission.admit(self.store, resource, namespace, obj, stored.obj, call)
        self._raise_generation(resource, obj, stored.obj, call)
        causes = validate.on_update(resource, obj, stored.obj, call.subresource)
        if causes:
            raise errors.invalid(resource.kind, resource.group, name, causes)
        admission.check(self.store, resource, namespace, obj, stored.obj, call)
        return self._save(resource, namespace, name, obj, stored, call)

    def _check_versions(self, resource: Resource, stored: Stored, wanted: Object, name: str) -> None:
        metadata = wanted.setdefault("metadata", {})
        uid = metadata.get("uid")
        if uid and uid != stored.obj["metadata"]["uid"]:
            where = "/".join(filter(None, (stored.obj["metadata"].get("namespace", ""), name)))
            why = (
                f"StorageError: invalid object, Code: 4, Key: /registry/{resource.plural}/{where}, "
                "ResourceVersion: 0, AdditionalErrorMsg: Precondition failed: "
                f"UID in precondition: {uid}, UID in object meta: {stored.obj['metadata']['uid']}"
            )
            raise errors.conflict(resource.plural, resource.group, name, why)
        version = metadata.get("resourceVersion")
        if version and version != stored.obj["metadata"]["resourceVersion"]:
            raise errors.conflict(resource.plural, resource.group, name)

    def _carry_over(self, resource: Resource, old: Object, wanted: Object, call: Call) -> Object:
        """What a client cannot change stays: identity always, status outside /status, all else inside it."""
        metadata, before = wanted["metadata"], old["metadata"]
        for fixed in (*SYSTEM_FIELDS, "namespace", "name", "generateName", "resourceVersion"):
            if fixed in before:
                metadata[fixed] = before[fixed]
            else:
                metadata.pop(fixed, None)
        wanted.setdefault("kind", old["kind"])
        wanted.setdefault("apiVersion", old["apiVersion"])
        if call.subresource == "status":
            kept = {**old, "metadata": {**before}}
            for part in ("labels", "annotations", "finalizers", "ownerReferences"):
                _take(kept["metadata"], metadata, part)
            _take(kept, wanted, "status")
            _drop_empty(kept["metadata"])
            return kept
        if resource.has_status and call.subresource not in ("eviction", "binding"):
            _take(wanted, old, "status")
        _drop_empty(metadata)
        return wanted

    def _raise_generation(self, resource: Resource, obj: Object, old: Object, call: Call) -> None:
        if not resource.generation or call.subresource in ("status", "binding"):
            return
        ignored = ("metadata", "status") if resource.has_status or not resource.custom else ("metadata",)
        if {k: v for k, v in obj.items() if k not in ignored} != {k: v for k, v in old.items() if k not in ignored}:
            obj["metadata"]["generation"] = old["metadata"].get("generation", 0) + 1

    def _save(self, resource: Resource, namespace: str, name: str, obj: Object, old: Stored, call: Call) -> Stored:
        if call.dry_run:
            return _unstored(obj, old.version)
        if self._may_go(resource, obj):
            self.store.remove(resource.key, (namespace, name))
            return _unstored(obj, old.version)
        return self.store.put(resource.key, (namespace, name), obj)

    @staticmethod
    def _may_go(resource: Resource, obj: Object) -> bool:
        """An object under deletion goes as soon as its last finalizer is gone and no grace is left."""
        metadata = obj["metadata"]
        if "deletionTimestamp" not in metadata or metadata.get("finalizers"):
            return False
        if resource.key == "namespaces":
            return not (obj.get("spec") or {}).get("finalizers")
        return not metadata.get("deletionGracePeriodSeconds")

    # Delete

    def delete(
        self, resource: Resource, namespace: str, name: str, options: DeleteOptions, call: Call
    ) -> tuple[Stored, bool]:
        """Begin or finish deletion; answers the last state and whether the object is gone."""
        stored = self.find(resource, namespace, name)
        if resource.key == "namespaces":
            admission.protect_namespace(name)
        metadata = stored.obj["metadata"]
        self._check_preconditions(resource, name, metadata, options)
        finalizers = self._deletion_finalizers(resource, metadata, options)
        grace = self._grace(resource, stored.obj, options)
        started = "deletionTimestamp" in metadata
        if not finalizers and not grace and not self._held(resource, stored.obj):
            if resource.key != "pods":
                return (stored if call.dry_run else self.store.remove(resource.key, (namespace, name))), True
            obj = copy_of(stored)  # A pod's last state says that its time was up.
            self._mark(resource, obj, 0, finalizers, started)
            last = _unstored(obj, stored.version)
            return (last if call.dry_run else self.store.remove(resource.key, (namespace, name), last)), True
        unchanged = finalizers == (metadata.get("finalizers") or [])
        if started and unchanged and not self._shortens(metadata, grace, options):
            return stored, False
        obj = copy_of(stored)
        self._mark(resource, obj, grace, finalizers, started)
        if call.dry_run:
            return _unstored(obj, stored.version), False
        return self.store.put(resource.key, (namespace, name), obj), False

    @staticmethod
    def _check_preconditions(resource: Resource, name: str, metadata: Object, options: DeleteOptions) -> None:
        checks = (
            ("UID", options.uid, metadata["uid"], "deleted and then recreated"),
            ("ResourceVersion", options.version, metadata["resourceVersion"], "modified"),
        )
        for what, wanted, found, how in checks:
            if wanted is not None and wanted != found:
                why = (
                    f"the {what} in the precondition ({wanted}) does not match the {what} in record ({found}). "
                    f"The object might have been {how}"
                )
                raise errors.conflict(resource.kind, resource.group, name, why)

    @staticmethod
    def _deletion_finalizers(resource: Resource, metadata: Object, options: DeleteOptions) -> list[str]:
        current = list(metadata.get("finalizers") or [])
        policy = options.policy
        if policy is None:
            if any(known in current for known in GC_FINALIZERS.values()):
                return current
            # batch/v1 keeps its first default: pods outlive a Job deleted without a policy (strategy.go).
            policy = "Orphan" if resource.key == "jobs.batch" else "Background"
        kept = [known for known in current if known not in GC_FINALIZERS.values()]
        if resource.key == definitions.KEY and "deletionTimestamp" not in metadata:
            kept.append(definitions.CLEANUP)
        return [*kept, GC_FINALIZERS[policy]] if policy in GC_FINALIZERS else kept

    @staticmethod
    def _grace(resource: Resource, obj: Object, options: DeleteOptions) -> int:
        if resource.key != "pods":
            return 0
        spec = obj.get("spec") or {}
        wanted = options.grace if options.grace is not None else spec.get("terminationGracePeriodSeconds", 30)
        finished = (obj.get("status") or {}).get("phase") in ("Succeeded", "Failed")
        if finished or not spec.get("nodeName"):
            return 0
        metadata = obj["metadata"]
        if options.grace is None and "deletionTimestamp" in metadata:
            return int(metadata.get("deletionGracePeriodSeconds") or 0)
        return max(int(wanted), 0) if options.grace != 0 else 0

    @staticmethod
    def _held(resource: Resource, obj: Object) -> bool:
        return resource.key == "namespaces" and bool((obj.get("spec") or {}).get("finalizers"))

    @staticmethod
    def _shortens(metadata: Object, grace: int, options: DeleteOptions) -> bool:
        return options.grace is not None and grace < int(metadata.get("deletionGracePeriodSeconds") or 0)

    @staticmethod
    def _mark(resource: Resource, obj: Object, grace: int, finalizers: list[str], started: bool) -> None:
        metadata = obj["metadata"]
        since = datetime.now(UTC)
        if started:
            previous = timedelta(seconds=metadata.get("deletionGracePeriodSeconds") or 0)
            began = datetime.fromisoformat(metadata["deletionTimestamp"]) - previous
            grace = min(grace, int(previous.total_seconds()))
            since = began
        metadata["deletionTimestamp"] = timestamp(since + timedelta(seconds=grace))
        if resource.key == definitions.KEY:
            definitions.terminating(obj)
        if resource.key == "namespaces":
            obj.setdefault("status", {})["phase"] = "Terminating"
        else:
            metadata["deletionGracePeriodSeconds"] = grace
        if metadata.get("generation") and not started:
            metadata["generation"] += 1
        if finalizers:
            metadata["finalizers"] = finalizers
        else:
            metadata.pop("finalizers", None)


class ApiErrorWithoutReason(errors.ApiError):
    """Plain Go errors reach a client as a 500 that has neither reason nor details."""

    def __init__(self, message: str) -> None:
        super().__init__(500, None, message)


def _unstored(obj: Object, version: int) -> Stored:
    return Stored(obj, orjson.dumps(obj), version)


def _settle_owners(old: Object | None, obj: Object, call: Call) -> None:
    before = old["metadata"].get("managedFields") if old else None
    owners = list(call.owns(old, obj)) if call.owns else before
    if owners:
        obj["metadata"]["managedFields"] = owners
    else:
        obj["metadata"].pop("managedFields", None)


def _take(target: dict[str, Any], source: dict[str, Any], key: str) -> None:
    if key in source:
        target[key] = source[key]
    else:
        target.pop(key, None)


def _drop_empty(metadata: Object) -> None:
    """Go omits what is empty; a client that sends `labels: {}` or `null` reads nothing back."""
    for part in ("labels", "annotations", "finalizers", "ownerReferences", "generateName"):
        if part in metadata and not metadata[part]:
            del metadata[part]
