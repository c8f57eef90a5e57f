"""A namespace that is being deleted goes once its contents have."""

from __future__ import annotations

from apps.devcluster.client import NAMESPACES, Client, Informers, Object, Resource
from apps.devcluster.loops import WorkQueue, now

RECHECK_SECONDS = 0.5
CONDITIONS = (
    ("NamespaceDeletionDiscoveryFailure", "ResourcesDiscovered", "All resources successfully discovered"),
    (
        "NamespaceDeletionGroupVersionParsingFailure",
        "ParsedGroupVersions",
        "All legacy kube types successfully parsed",
    ),
    (
        "NamespaceDeletionContentFailure",
        "ContentDeleted",
        "All content successfully deleted, may be waiting on finalization",
    ),
)


class NamespaceController:
    """Deletes what is in a terminating namespace, says what holds it, then lets it go."""

    def __init__(self, client: Client, informers: Informers) -> None:
        self._client, self._namespaces = client, informers[NAMESPACES]
        self.queue = WorkQueue(self.reconcile)
        self._namespaces.subscribe(lambda kind, obj: self.queue.add("", obj["metadata"]["name"]))

    async def reconcile(self, _: str, name: str) -> float | None:
        """One look at one namespace."""
        namespace = self._namespaces.get("", name)
        if namespace is None or not namespace["metadata"].get("deletionTimestamp"):
            return None
        left: dict[str, list[Object]] = {}
        for resource in await self._resources():
            items, _version = await self._client.list(resource, name)
            if items:
                if any(not item["metadata"].get("deletionTimestamp") for item in items):
                    await self._client.call("DELETE", resource.path(name), {"propagationPolicy": "Background"})
                    items, _version = await self._client.list(resource, name)
                if items:
                    left[resource_name(resource)] = items
        await self._report(namespace, left)
        if left:
            return RECHECK_SECONDS
        if namespace["spec"].get("finalizers"):
            body = {**namespace, "spec": {**namespace["spec"], "finalizers": []}}
            await self._client.replace(NAMESPACES, body, "finalize")
        return None

    async def _resources(self) -> list[Resource]:
        """Every namespaced kind that can be listed and deleted, from discovery."""
        found = await self._of_group("/api/v1", "v1")
        for group in (await self._client.call("GET", "/apis"))["groups"]:
            version = group["preferredVersion"]["groupVersion"]
            found += await self._of_group(f"/apis/{version}", version)
        return found

    async def _of_group(self, path: str, version: str) -> list[Resource]:
        answer = await self._client.call("GET", path)
        return [
            Resource(item["name"], version, item["kind"])
            for item in answer.get("resources") or []
            if item["namespaced"] and "/" not in item["name"] and {"list", "deletecollection"} <= set(item["verbs"])
        ]

    async def _report(self, namespace: Object, left: dict[str, list[Object]]) -> None:
        status = {"phase": "Terminating", "conditions": _conditions(left, namespace)}
        if status != namespace.get("status"):
            await self._client.patch(NAMESPACES, None, namespace["metadata"]["name"], {"status": status}, "status")


def resource_name(resource: Resource) -> str:
    """`pods.`, `jobs.batch`: as the conditions name it."""
    group = resource.api_version.rpartition("/")[0]
    return f"{resource.plural}.{group}"


def _conditions(left: dict[str, list[Object]], namespace: Object) -> list[Object]:
    before = {item["type"]: item for item in (namespace.get("status") or {}).get("conditions") or []}
    remaining = ", ".join(f"{kind} has {len(items)} resource instances" for kind, items in sorted(left.items()))
    counts: dict[str, int] = {}
    for items in left.values():
        for item in items:
            for finalizer in item["metadata"].get("finalizers") or []:
                counts[finalizer] = counts.get(finalizer, 0) + 1
    holders = ", ".join(f"{name} in {number} resource instances" for name, number in sorted(counts.items()))
    wanted = [(kind, "False", reason, message) for kind, reason, message in CONDITIONS]
    if left:
        wanted.append(
            (
                "NamespaceContentRemaining",
                "True",
                "SomeResourcesRemain",
                f"Some resources are remaining: {remaining}",
            )
        )
    else:
        wanted.append(("NamespaceContentRemaining", "False", "ContentRemoved", "All content successfully removed"))
    if holders:
        text = f"Some content in the namespace has finalizers remaining: {holders}"
        wanted.append(("NamespaceFinalizersRemaining", "True", "SomeFinalizersRemain", text))
    else:
        text = "All content-preserving finalizers finished"
        wanted.append(("NamespaceFinalizersRemaining", "False", "ContentHasNoFinalizers", text))
    result = []
    for kind, status, reason, message in wanted:
        known = before.get(kind)
        same = known and known["status"] == status
        when = known["lastTransitionTime"] if same and known else now()
        entry = {
            "type": kind,
            "status": status,
            "lastTransitionTime": when,
            "reason": reason,
            "message": message,
        }
        result.append(entry)
    return result
