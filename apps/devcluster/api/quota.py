"""ResourceQuota: refusing what exceeds it, and keeping `status.used` true.

Usage is counted from the store when it is asked for: there is no second book that could be wrong.
Sources: pkg/quota/v1/evaluator/core, plugin resourcequota/controller.go.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from decimal import Decimal

from apps.devcluster import quantities

from . import errors
from .defaults import containers
from .registry import Registry, Resource
from .store import Event, Object, Store

SETTLE = 0.05  # seconds a burst of changes may take before the status is written once
SHORT = {
    "cpu": "requests.cpu",
    "memory": "requests.memory",
    "ephemeral-storage": "requests.ephemeral-storage",
}
MUST_NAME = ("cpu", "memory", "requests.cpu", "requests.memory", "limits.cpu", "limits.memory")
PLAIN_COUNTS = ("pods", "services", "secrets", "configmaps", "persistentvolumeclaims", "resourcequotas")
Usage = dict[str, Decimal]


def pod_resources(spec: Object, part: str) -> Usage:
    """What a pod asks for: the sum of its containers, or more if a single init container needs more."""
    total: Usage = {}
    for container in spec.get("containers") or ():
        for name, value in ((container.get("resources") or {}).get(part) or {}).items():
            total[name] = total.get(name, Decimal(0)) + quantities.parse(value)
    for container in spec.get("initContainers") or ():
        for name, value in ((container.get("resources") or {}).get(part) or {}).items():
            total[name] = max(total.get(name, Decimal(0)), quantities.parse(value))
    return total


def usage_of(key: str, obj: Object) -> Usage:
    """What one object takes, under every name a quota may use for it."""
    plural, _, group = key.partition(".")
    used: Usage = {f"count/{plural}.{group}" if group else f"count/{plural}": Decimal(1)}
    if key == "pods":
        if (obj.get("status") or {}).get("phase") in ("Succeeded", "Failed"):
            return used
        for part in ("requests", "limits"):
            for name, value in pod_resources(obj["spec"], part).items():
                used[f"{part}.{name}"] = value
                if part == "requests" and name in SHORT:
                    used[name] = value
    elif key == "persistentvolumeclaims":
        requested = ((obj["spec"].get("resources") or {}).get("requests") or {}).get("storage")
        if requested:
            used["requests.storage"] = quantities.parse(requested)
    if key in PLAIN_COUNTS:
        used[key] = Decimal(1)
    return used


def check(store: Store, resource: Resource, namespace: str, obj: Object) -> None:
    for found in list(store.each("resourcequotas", namespace)):
        hard = found["spec"].get("hard") or {}
        asked = {name: value for name, value in usage_of(resource.key, obj).items() if name in hard}
        name = obj["metadata"].get("name", "")
        if resource.key == "pods":
            _names_everything(found, hard, obj, name)
        if not asked:
            continue
        used = total(store, namespace, asked, (resource.key,))
        over = sorted(k for k, v in asked.items() if v > 0 and used[k] + v > quantities.parse(hard[k]))
        if over:
            raise errors.forbidden(resource.plural, resource.group, name, _exceeded(found, hard, over, asked, used))


def _names_everything(found: Object, hard: Object, pod: Object, name: str) -> None:
    missing: dict[str, list[str]] = {}
    for wanted in sorted(hard):
        if wanted not in MUST_NAME:
            continue
        part, _, resource = wanted.rpartition(".")
        for container in containers(pod["spec"]):
            if resource not in ((container.get("resources") or {}).get(part or "requests") or {}):
                missing.setdefault(wanted, []).append(container["name"])
    if missing:
        listed = "; ".join(f"{wanted} for: {','.join(names)}" for wanted, names in missing.items())
        why = f"failed quota: {found['metadata']['name']}: must specify {listed}"
        raise errors.forbidden("pods", "", name, why)


def _exceeded(found: Object, hard: Object, over: list[str], asked: Usage, used: Usage) -> str:
    def listed(values: dict[str, str]) -> str:
        return ",".join(f"{name}={values[name]}" for name in over)

    return (
        f"exceeded quota: {found['metadata']['name']}, requested: {listed({k: _spell(k, asked[k]) for k in over})}, "
        f"used: {listed({k: _spell(k, used[k]) for k in over})}, limited: {listed(hard)}"
    )


def _spell(name: str, value: Decimal) -> str:
    return quantities.spell(value, binary="memory" in name or "storage" in name)


def total(store: Store, namespace: str, names: Iterable[str], keys: Iterable[str]) -> Usage:
    used = dict.fromkeys(names, Decimal(0))
    for key in keys:
        for obj in store.each(key, namespace):
            for name, value in usage_of(key, obj).items():
                if name in used:
                    used[name] += value
    return used


class QuotaKeeper:
    """Writes `status` of the quotas of a namespace soon after anything in it has changed."""

    def __init__(self, store: Store, registry: Registry) -> None:
        self._store, self._registry = store, registry
        self._due: set[str] = set()
        store.observe(self._notice)
        self._due.update(namespace for (namespace, _), _ in store.items("resourcequotas"))
        if self._due:
            self._schedule()

    def _notice(self, event: Event) -> None:
        namespace = event.key[0]
        if not namespace or (event.type == "MODIFIED" and event.resource not in ("pods", "resourcequotas")):
            return
        if namespace not in self._due and next(iter(self._store.each("resourcequotas", namespace)), None):
            self._due.add(namespace)
            self._schedule()

    def _schedule(self) -> None:
        asyncio.get_running_loop().call_later(SETTLE, self._settle)

    def _settle(self) -> None:
        due, self._due = self._due, set()
        keys = [resource.key for resource in self._registry.stored() if resource.namespaced]
        for namespace in due:
            for found in list(self._store.each("resourcequotas", namespace)):
                hard = found["spec"].get("hard") or {}
                used = total(self._store, namespace, hard, keys)
                status = {"hard": hard, "used": {name: _spell(name, used[name]) for name in sorted(hard)}}
                if found.get("status") != status:
                    fresh = {**found, "metadata": {**found["metadata"]}, "status": status}
                    self._store.put("resourcequotas", (namespace, found["metadata"]["name"]), fresh)
