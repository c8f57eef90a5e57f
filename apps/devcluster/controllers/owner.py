"""What controllers of objects that own others share: which are theirs, adopted and released, made and deleted."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod

from apps.devcluster.api.selectors import matches
from apps.devcluster.client import ApiError, Client, Informers, Object, Resource, controller_of
from apps.devcluster.loops import Recorder, WorkQueue, now, seconds_of

RETRY_SECONDS = 5.0  # until a pod that was refused is tried again: nobody tells when a quota has room


class Owner(ABC):
    """Reconciles objects of kind `parent`, each of which controls objects of kind `child`."""

    parent: Resource
    child: Resource
    component: str

    def __init__(self, client: Client, informers: Informers) -> None:
        self.client, self.parents, self.children = client, informers[self.parent], informers[self.child]
        self.recorder = Recorder(client, self.component)
        self.queue = WorkQueue(self.reconcile, workers=8)
        self.parents.subscribe(self.on_parent)
        self.children.subscribe(self.on_child)

    @abstractmethod
    async def reconcile(self, namespace: str, name: str) -> float | None:
        """One look at one parent; seconds until the next one, if it must not wait for news."""

    def on_parent(self, kind: str, obj: Object) -> None:
        """Every change of a parent is looked at."""
        self.queue.add(*_key(obj))

    def on_child(self, kind: str, child: Object) -> None:
        """Its controller looks again; one without a controller may be adopted by whoever selects it."""
        namespace, owner = child["metadata"]["namespace"], controller_of(child)
        if owner.get("kind") == self.parent.kind:
            self.queue.add(namespace, owner["name"])
        elif not owner and kind != "DELETED":
            for obj in self.parents.of_namespace(namespace):
                if selects(obj, child):
                    self.queue.add(*_key(obj))

    async def claim(self, obj: Object) -> list[Object]:
        """The children of `obj`: those that no longer match are released, matching orphans adopted."""
        mine = []
        for child in self.children.owned_by(obj["metadata"]["uid"]):
            if selects(obj, child):
                mine.append(child)
            elif not leaving(child):
                uid = obj["metadata"]["uid"]
                await self._own(child, [r for r in child["metadata"]["ownerReferences"] if r["uid"] != uid])
        if not leaving(obj):
            namespace = obj["metadata"]["namespace"]
            for child in self.children.owned_by(""):
                if child["metadata"]["namespace"] == namespace and selects(obj, child) and not leaving(child):
                    owners = child["metadata"].get("ownerReferences") or []
                    mine.append(await self._own(child, [*owners, self.reference(obj)]))
        return mine

    async def _own(self, child: Object, references: list[Object]) -> Object:
        meta = child["metadata"]
        body = {"metadata": {"uid": meta["uid"], "ownerReferences": references or None}}
        return await self.client.patch(self.child, meta["namespace"], meta["name"], body)

    def reference(self, obj: Object) -> Object:
        """What makes `obj` the controller of a child."""
        meta, kind = obj["metadata"], {"apiVersion": self.parent.api_version, "kind": self.parent.kind}
        return kind | {"name": meta["name"], "uid": meta["uid"], "controller": True, "blockOwnerDeletion": True}

    def tell(self, obj: Object, reason: str, message: str, *, warning: bool = False) -> None:
        """Record an event about a parent."""
        self.recorder.tell(obj, reason, message, kind=self.parent.kind, warning=warning)

    async def set_status(self, obj: Object, status: Object) -> Object:
        """Write the status if it is news; a version that is not the newest is a conflict, and tried again."""
        if status == (obj.get("status") or {}):
            return obj
        return await self.client.replace(self.parent, {**obj, "status": status}, "status")

    async def create_pod(self, obj: Object, pod: Object) -> ApiError | None:
        """Make a child; what the API refused (a quota, most often), said in an event, else nothing."""
        pod["metadata"] |= {"ownerReferences": [self.reference(obj)], "namespace": obj["metadata"]["namespace"]}
        try:
            made = await self.client.create(self.child, obj["metadata"]["namespace"], pod)
        except ApiError as error:
            self.tell(obj, "FailedCreate", f"Error creating: {error.message}", warning=True)
            return error
        self.tell(obj, "SuccessfulCreate", f"Created pod: {made['metadata']['name']}")
        return None

    async def delete_pod(self, obj: Object, pod: Object) -> None:
        """Ask a child to go, with an event."""
        meta = pod["metadata"]
        options = {"preconditions": {"uid": meta["uid"]}, "propagationPolicy": "Background"}
        await self.client.delete(self.child, meta["namespace"], meta["name"], options)
        self.tell(obj, "SuccessfulDelete", f"Deleted pod: {meta['name']}")


def new_pod(obj: Object, base: str) -> Object:
    """A pod as the parent's template has it, its name beginning with `base`."""
    template = copy.deepcopy(obj["spec"]["template"])
    return {"metadata": (template.get("metadata") or {}) | {"generateName": f"{base}-"}, "spec": template["spec"]}


def _key(obj: Object) -> tuple[str, str]:
    return obj["metadata"]["namespace"], obj["metadata"]["name"]


def selects(obj: Object, child: Object) -> bool:
    """Whether the label selector of `obj` is there and fits the child."""
    selector = obj["spec"].get("selector")
    return bool(selector) and matches(selector, child["metadata"].get("labels"))


# -- reading


def age(obj: Object) -> tuple[str, str]:
    """Sorts the oldest first, the same on every look."""
    return obj["metadata"]["creationTimestamp"], obj["metadata"]["name"]


def phase(pod: Object) -> str:
    """The pod's phase."""
    return (pod.get("status") or {}).get("phase", "Pending")


def terminal(pod: Object) -> bool:
    """It has ended."""
    return phase(pod) in ("Succeeded", "Failed")


def leaving(obj: Object) -> bool:
    """It is being deleted."""
    return bool(obj["metadata"].get("deletionTimestamp"))


def active(pod: Object) -> bool:
    """It runs or will run."""
    return not terminal(pod) and not leaving(pod)


def ready(pod: Object) -> bool:
    """Its Ready condition is true."""
    return condition(pod.get("status") or {}, "Ready") is not None


def available_in(pod: Object, seconds: int, at: float) -> float | None:
    """How long the pod must still stay ready until it has been so for `seconds`; None while it is not ready."""
    found = condition(pod.get("status") or {}, "Ready")
    if found is None:
        return None
    return max(0.0, seconds_of(found["lastTransitionTime"]) + seconds - at) if seconds else 0.0


def condition(status: Object, kind: str) -> Object | None:
    """The condition if it is true."""
    found = find_condition(status, kind)
    return found if found and found["status"] == "True" else None


def find_condition(status: Object, kind: str) -> Object | None:
    """The condition, whatever it says."""
    return next((item for item in status.get("conditions") or () if item["type"] == kind), None)


def set_condition(status: Object, kind: str, value: str, reason: str, message: str, **more: str | int) -> None:
    """Replace a condition where its status or reason is news; it goes to the end, as in the real helpers."""
    known = find_condition(status, kind)
    if known and (known["status"], known["reason"]) == (value, reason):
        return
    since = known["lastTransitionTime"] if known and known["status"] == value else now()
    fresh = {"type": kind, "status": value, **more, "lastTransitionTime": since, "reason": reason, "message": message}
    status["conditions"] = [*(c for c in status.get("conditions") or () if c["type"] != kind), fresh]


def drop_condition(status: Object, kind: str) -> None:
    """Take a condition away."""
    status["conditions"] = [item for item in status.get("conditions") or () if item["type"] != kind]


def counts(status: Object, **values: int) -> Object:
    """Counts of zero are left out, as Go leaves them out."""
    kept = {key: value for key, value in status.items() if key not in values and value != []}
    return kept | {key: value for key, value in values.items() if value}
