"""The Deployment controller: a ReplicaSet per template, scaled so that pods are replaced without a gap.

Source: pkg/controller/deployment; its questions in its order.
"""

from __future__ import annotations

import copy
import time

from apps.devcluster.client import DEPLOYMENTS, PODS, REPLICA_SETS, ApiError, Client, Informers, Object, controller_of
from apps.devcluster.controllers import rollout
from apps.devcluster.controllers.owner import (
    Owner,
    counts,
    drop_condition,
    find_condition,
    leaving,
    set_condition,
    terminal,
)
from apps.devcluster.controllers.rollout import HISTORY, REVISION, Sizes, annotation, count, size
from apps.devcluster.loops import now, seconds_of

DONE, LATE = "NewReplicaSetAvailable", "ProgressDeadlineExceeded"


class DeploymentController(Owner):
    """Deployments and their ReplicaSets."""

    parent, child, component = DEPLOYMENTS, REPLICA_SETS, "deployment-controller"

    def __init__(self, client: Client, informers: Informers) -> None:
        super().__init__(client, informers)
        self._pods = informers[PODS]
        self._pods.subscribe(self._on_pod)

    def _on_pod(self, kind: str, pod: Object) -> None:
        """Recreate waits for the last old pod to be gone, which no ReplicaSet's status tells."""
        owner, namespace = controller_of(pod), pod["metadata"]["namespace"]
        rs = self.children.get(namespace, owner.get("name", "")) if owner.get("kind") == "ReplicaSet" else None
        if rs and (kind == "DELETED" or terminal(pod)):
            self.on_child(kind, rs)

    async def reconcile(self, namespace: str, name: str) -> float | None:
        """One look at one Deployment."""
        found = self.parents.get(namespace, name)
        if found is None:
            return None
        sets = await self.claim(found)
        d = copy.deepcopy(found)
        if leaving(d):
            return await self._report(d, progress=False)
        d = await self._note_pause(d)
        new = rollout.current(d, sets)
        olds = [rs for rs in sets if rs is not new]
        if d["spec"].get("paused") or rollout.scaled(d, sets):
            await self._resize(d, rollout.proportional(d, new, olds))
            if d["spec"].get("paused"):
                await self._clean_up(d, olds)
            return await self._report(d, progress=False)
        sizes: Sizes = []
        if d["spec"]["strategy"]["type"] == "Recreate":
            sizes = [(rs, 0) for rs in olds if size(rs)]
            if not sizes and not any(map(self._runs, olds)):
                d, new = await self._newest(d, new, olds)
                sizes = [(new, size(d))] if size(new) != size(d) else []
        else:
            d, new = await self._newest(d, new, olds)
            sizes = rollout.rolling(d, new, olds)
        await self._resize(d, sizes)
        if not sizes and rollout.complete(d, d.get("status") or {}):
            await self._clean_up(d, olds)
        return await self._report(d, progress=True)

    def _runs(self, rs: Object) -> bool:
        return any(not terminal(pod) for pod in self._pods.owned_by(rs["metadata"]["uid"]))

    # -- ReplicaSets

    async def _newest(self, d: Object, new: Object | None, olds: list[Object]) -> tuple[Object, Object]:
        """The ReplicaSet of the present template, made where it is missing, and its revision on both."""
        status, made = copy.deepcopy(d.get("status") or {}), None
        if new is None:
            new = made = await self._make(d, rollout.new_set(d, olds))
        else:
            new = await self._renew(d, new, max((annotation(rs, REVISION) for rs in olds), default=0) + 1)
        if d["spec"].get("progressDeadlineSeconds") is not None:
            words = f'"{new["metadata"]["name"]}"'
            if made:
                _progress(status, "True", "NewReplicaSetCreated", f"Created new replica set {words}")
            elif find_condition(status, "Progressing") is None:
                _progress(status, "True", "FoundNewReplicaSet", f"Found new replica set {words}")
        revision = new["metadata"]["annotations"][REVISION]
        notes = d["metadata"].get("annotations") or {}
        if notes.get(REVISION) != revision or status != (d.get("status") or {}):
            d = {**d, "metadata": d["metadata"] | {"annotations": notes | {REVISION: revision}}, "status": status}
            d = await self.client.replace(self.parent, d, "status")
        return d, new

    async def _make(self, d: Object, rs: Object) -> Object:
        namespace, name = d["metadata"]["namespace"], rs["metadata"]["name"]
        rs["metadata"]["ownerReferences"] = [self.reference(d)]
        try:
            made = await self.client.create(self.child, namespace, rs)
        except ApiError as error:
            status = copy.deepcopy(d.get("status") or {})
            if error.reason == "AlreadyExists":  # Another template with the same hash: the next hash is salted.
                status["collisionCount"] = status.get("collisionCount", 0) + 1
            else:
                text = f'Failed to create new replica set "{name}": {error.message}'
                self.tell(d, "ReplicaSetCreateError", text, warning=True)
                _progress(status, "False", "ReplicaSetCreateError", text)
            await self.set_status(d, status)
            raise
        if size(made):
            self.tell(d, "ScalingReplicaSet", f"Scaled up replica set {name} from 0 to {size(made)}")
        return made

    async def _renew(self, d: Object, rs: Object, revision: int) -> Object:
        """A ReplicaSet that was there before gets the newest revision (a rollback) and annotations."""
        notes = dict(rs["metadata"].get("annotations") or {})
        copied = d["metadata"].get("annotations") or {}
        notes |= {key: value for key, value in copied.items() if key not in rollout.NOT_COPIED}
        if annotation(rs, REVISION) < revision:
            if REVISION in notes:
                notes[HISTORY] = ",".join(filter(None, (notes.get(HISTORY), notes[REVISION])))
            notes[REVISION] = str(revision)
        wait = d["spec"].get("minReadySeconds", 0)
        if notes == rs["metadata"].get("annotations") and wait == rs["spec"].get("minReadySeconds", 0):
            return rs
        fresh = {**rs, "metadata": rs["metadata"] | {"annotations": notes}}
        return await self.client.replace(self.child, fresh | {"spec": rs["spec"] | {"minReadySeconds": wait}})

    async def _resize(self, d: Object, sizes: Sizes) -> None:
        for rs, wanted in sizes:
            before, meta = size(rs), rs["metadata"]
            notes = (meta.get("annotations") or {}) | rollout.sizes_noted(d)
            rs = {**rs, "metadata": meta | {"annotations": notes}, "spec": rs["spec"] | {"replicas": wanted}}
            await self.client.replace(self.child, rs)
            if wanted != before:
                way = "up" if wanted > before else "down"
                text = f"Scaled {way} replica set {meta['name']} from {before} to {wanted}"
                self.tell(d, "ScalingReplicaSet", text)

    async def _clean_up(self, d: Object, olds: list[Object]) -> None:
        for rs in rollout.expendable(d, olds):
            await self.client.delete(self.child, rs["metadata"]["namespace"], rs["metadata"]["name"])

    # -- status

    async def _note_pause(self, d: Object) -> Object:
        status = copy.deepcopy(d.get("status") or {})
        reason = (find_condition(status, "Progressing") or {}).get("reason")
        if d["spec"].get("progressDeadlineSeconds") is None or reason == LATE:
            return d
        if d["spec"].get("paused"):
            _progress(status, "Unknown", "DeploymentPaused", "Deployment is paused")
        elif reason == "DeploymentPaused":
            _progress(status, "Unknown", "DeploymentResumed", "Deployment is resumed")
        return await self.set_status(d, status)

    async def _report(self, d: Object, *, progress: bool) -> float | None:
        """Write the status; seconds until the deadline for progress, where one runs."""
        sets = self.children.owned_by(d["metadata"]["uid"])
        before, new = d.get("status") or {}, rollout.current(d, sets)
        status = counts(
            before | {"observedGeneration": d["metadata"]["generation"]},
            replicas=sum(count(rs, "replicas") for rs in sets),
            updatedReplicas=count(new, "replicas") if new else 0,
            readyReplicas=sum(count(rs, "readyReplicas") for rs in sets),
            availableReplicas=(available := sum(count(rs, "availableReplicas") for rs in sets)),
            unavailableReplicas=max(0, rollout.total(sets) - available),
        ) | {"terminatingReplicas": sum(count(rs, "terminatingReplicas") for rs in sets)}
        if available >= size(d) - rollout.fenceposts(d)[1]:
            words = "True", "MinimumReplicasAvailable", "Deployment has minimum availability."
        else:
            words = "False", "MinimumReplicasUnavailable", "Deployment does not have minimum availability."
        set_condition(status, "Available", *words, lastUpdateTime=now())
        if progress:
            self._judge(d, status, new)
            self._failures(status, [new] if new else [], sets)
        await self.set_status(d, counts(status))
        known = find_condition(status, "Progressing")
        seconds = d["spec"].get("progressDeadlineSeconds")
        if seconds is None or not known or known["reason"] in (DONE, LATE) or not progress:
            return None
        return max(0.1, seconds_of(known["lastUpdateTime"]) + seconds + 1 - time.time())

    def _judge(self, d: Object, status: Object, new: Object | None) -> None:
        """Has it arrived, does it move, or is its time up?"""
        seconds, known = d["spec"].get("progressDeadlineSeconds"), find_condition(status, "Progressing")
        what = f'ReplicaSet "{new["metadata"]["name"]}"' if new else f'Deployment "{d["metadata"]["name"]}"'
        old = d.get("status") or {}
        arrived = status.get("replicas", 0) == status.get("updatedReplicas", 0) and known and known["reason"] == DONE
        if seconds is None:
            drop_condition(status, "Progressing")
        elif arrived:
            pass
        elif rollout.complete(d, status):
            _progress(status, "True", DONE, f"{what} has successfully progressed.")
        elif _moves(old, status):
            since = known["lastTransitionTime"] if known and known["status"] == "True" else now()
            drop_condition(status, "Progressing")
            _progress(status, "True", "ReplicaSetUpdated", f"{what} is progressing.")
            status["conditions"][-1]["lastTransitionTime"] = since
        elif known and known["reason"] != DONE and seconds_of(known["lastUpdateTime"]) + seconds < time.time():
            _progress(status, "False", LATE, f"{what} has timed out progressing.")

    def _failures(self, status: Object, new: list[Object], sets: list[Object]) -> None:
        """A ReplicaSet that cannot make pods says why; the newest is asked first."""
        for rs in [*new, *sets]:
            if failure := find_condition(rs.get("status") or {}, "ReplicaFailure"):
                words = failure["status"], failure["reason"], failure["message"]
                return set_condition(status, "ReplicaFailure", *words, lastUpdateTime=now())
        return drop_condition(status, "ReplicaFailure")


def _progress(status: Object, value: str, reason: str, message: str) -> None:
    set_condition(status, "Progressing", value, reason, message, lastUpdateTime=now())


def _moves(old: Object, status: Object) -> bool:
    grown = any(status.get(k, 0) > old.get(k, 0) for k in ("updatedReplicas", "readyReplicas", "availableReplicas"))
    left = [s.get("replicas", 0) - s.get("updatedReplicas", 0) for s in (status, old)]
    return grown or left[0] < left[1]
