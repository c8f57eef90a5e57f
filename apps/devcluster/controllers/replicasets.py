"""The ReplicaSet controller: as many pods as asked for (pkg/controller/replicaset)."""

from __future__ import annotations

import time

from apps.devcluster.client import PODS, REPLICA_SETS, ApiError, Object
from apps.devcluster.controllers.owner import (
    RETRY_SECONDS,
    Owner,
    active,
    age,
    available_in,
    counts,
    drop_condition,
    leaving,
    new_pod,
    phase,
    ready,
    set_condition,
    terminal,
)

BURST = 500  # Pods made or deleted in one look.
COST = "controller.kubernetes.io/pod-deletion-cost"


class ReplicaSetController(Owner):
    """ReplicaSets and their pods."""

    parent, child, component = REPLICA_SETS, PODS, "replicaset-controller"

    async def reconcile(self, namespace: str, name: str) -> float | None:
        """One look at one ReplicaSet."""
        rs = self.parents.get(namespace, name)
        if rs is None:
            return None
        pods = await self.claim(rs)
        running = sorted(filter(active, pods), key=age)
        refused = None if leaving(rs) else await self._scale(rs, running)
        at, wait = time.time(), rs["spec"].get("minReadySeconds", 0)
        left = [available_in(pod, wait, at) for pod in running]
        labels = (rs["spec"]["template"].get("metadata") or {}).get("labels") or {}
        known = dict(rs.get("status") or {})
        status = counts(
            known | {"replicas": len(running), "observedGeneration": rs["metadata"]["generation"]},
            fullyLabeledReplicas=sum(labels.items() <= (p["metadata"].get("labels") or {}).items() for p in running),
            readyReplicas=sum(map(ready, running)),
            availableReplicas=left.count(0.0),
        ) | {"terminatingReplicas": sum(leaving(pod) and not terminal(pod) for pod in pods)}
        if refused:
            set_condition(status, "ReplicaFailure", "True", "FailedCreate", refused.message)
        elif status.get("conditions"):
            drop_condition(status, "ReplicaFailure")
        await self.set_status(rs, counts(status))
        soon = [seconds for seconds in left if seconds] + ([RETRY_SECONDS] if refused else [])
        return min(soon, default=None)

    async def _scale(self, rs: Object, running: list[Object]) -> ApiError | None:
        """Make or delete what the count differs by; why the API refused to, if it did."""
        wanted = rs["spec"].get("replicas") or 0
        for _ in range(min(wanted - len(running), BURST)):
            if refused := await self.create_pod(rs, new_pod(rs, rs["metadata"]["name"])):
                return refused
        if len(running) > wanted:
            on_node: dict[str, int] = {}
            for pod in running:
                node = pod["spec"].get("nodeName", "")
                on_node[node] = on_node.get(node, 0) + 1
            for pod in sorted(running, key=lambda pod: _rank(pod, on_node))[: min(len(running) - wanted, BURST)]:
                await self.delete_pod(rs, pod)
        return None


def _rank(pod: Object, on_node: dict[str, int]) -> tuple[object, ...]:
    """Sorts those first that are missed least (ActivePodsWithRanks)."""
    node, meta = pod["spec"].get("nodeName", ""), pod["metadata"]
    statuses = (pod.get("status") or {}).get("containerStatuses") or []
    return (
        bool(node),
        ("Pending", "Unknown", "Running").index(phase(pod)),
        ready(pod),
        int((meta.get("annotations") or {}).get(COST, "0")),
        -on_node[node],
        -sum(status.get("restartCount", 0) for status in statuses),
        [-ord(letter) for letter in meta["creationTimestamp"]],  # The youngest first.
        meta["name"],
    )
