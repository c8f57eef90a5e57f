"""A namespace that is being deleted goes once its contents have."""

from __future__ import annotations

from collections import Counter

from apps.devcluster.client import NAMESPACES, Client, Informers, Object, Resource
from apps.devcluster.controllers.owner import find_condition
from apps.devcluster.loops import WorkQueue, now

RECHECK_SECONDS = 0.5
CONTENT_DELETED = "All content successfully deleted, may be waiting on finalization"
CONDITIONS = [
    (f"NamespaceDeletion{kind}Failure", "False", reason, message)
    for kind, reason, message in (
        ("Discovery", "ResourcesDiscovered", "All resources successfully discovered"),
        ("GroupVersionParsing", "ParsedGroupVersions", "All legacy kube types successfully parsed"),
        ("Content", "ContentDeleted", CONTENT_DELETED),
    )
]


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
        """Every namespaced kind that can be listed and deleted, from discovery: each in the first version it has."""
        found = {("", item.plural): item for item in await self._of_group("/api/v1", "v1")}
        for group in (await self._client.call("GET", "/apis"))["groups"]:
            for version in (each["groupVersion"] for each in group["versions"]):
                for item in await self._of_group(f"/apis/{version}", version):
                    found.setdefault((group["name"], item.plural), item)
        return list(found.values())

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
    remaining = ", ".join(f"{kind} has {len(items)} resource instances" for kind, items in sorted(left.items()))
    holders = Counter(f for items in left.values() for item in items for f in item["metadata"].get("finalizers") or [])
    held = ", ".join(f"{name} in {number} resource instances" for name, number in sorted(holders.items()))
    content = ("False", "ContentRemoved", "All content successfully removed")
    if left:
        content = ("True", "SomeResourcesRemain", f"Some resources are remaining: {remaining}")
    finalizers = ("False", "ContentHasNoFinalizers", "All content-preserving finalizers finished")
    if held:
        text = f"Some content in the namespace has finalizers remaining: {held}"
        finalizers = ("True", "SomeFinalizersRemain", text)
    result = []
    more = [("NamespaceContentRemaining", *content), ("NamespaceFinalizersRemaining", *finalizers)]
    for kind, status, reason, message in CONDITIONS + more:
        known = find_condition(namespace.get("status") or {}, kind)
        since = known["lastTransitionTime"] if known and known["status"] == status else now()
        entry = {"type": kind, "status": status, "lastTransitionTime": since, "reason": reason, "message": message}
        result.append(entry)
    return result
