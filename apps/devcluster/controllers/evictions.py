"""Pods that must leave their node: it has a NoExecute taint they do not bear (pkg/controller/tainteviction), or it is
no longer there (pkg/controller/podgc).
"""

from __future__ import annotations

import asyncio

from apps.devcluster.client import NODES, PODS, ApiError, Client, Informers, Object
from apps.devcluster.controllers.owner import leaving, terminal
from apps.devcluster.loops import Recorder, WorkQueue, set_pod_condition
from apps.devcluster.placement import tolerated, tolerates

QUARANTINE_SECONDS = 40.0  # until a node that is not there is believed to be gone
BY_TAINT = {"reason": "DeletionByTaintManager", "message": "Taint manager: deleting due to NoExecute taint"}
BY_COLLECTOR = {"reason": "DeletionByPodGC", "message": "PodGC: node no longer exists"}


class EvictionController:
    """Looks at the pods of tainted and of missing nodes."""

    def __init__(self, client: Client, informers: Informers, grace: float) -> None:
        self._client, self._quarantine = client, min(QUARANTINE_SECONDS, grace)
        self._pods, self._nodes = informers[PODS], informers[NODES]
        self._recorder = Recorder(client, "taint-eviction-controller")
        self._since: dict[str, float] = {}  # pods that bear a taint for a while, by uid
        self._gone: dict[str, float] = {}  # nodes that are not there
        self.queue = WorkQueue(self.reconcile, workers=8)
        self._pods.subscribe(self._on_pod)
        self._nodes.subscribe(self._on_node)

    def _on_pod(self, kind: str, pod: Object) -> None:
        meta, name = pod["metadata"], pod["spec"].get("nodeName")
        if kind == "DELETED":
            self._since.pop(meta["uid"], None)
        elif name and (meta["uid"] in self._since or self._hostile(name)):
            self.queue.add(meta["namespace"], meta["name"])

    def _on_node(self, kind: str, node: Object) -> None:
        name = node["metadata"]["name"]
        if self._since or self._hostile(name):
            for (namespace, pod_name), pod in self._pods.items.items():
                if pod["spec"].get("nodeName") == name:
                    self.queue.add(namespace, pod_name)

    def _hostile(self, name: str) -> bool:
        node = self._nodes.get("", name)
        return node is None or bool(_taints(node))

    async def reconcile(self, namespace: str, name: str) -> float | None:
        """One look at one pod; seconds until its time is up."""
        pod = self._pods.get(namespace, name)
        if pod is None or not pod["spec"].get("nodeName"):
            return None
        node = self._nodes.get("", pod["spec"]["nodeName"])
        if node is None:
            return await self._collect(pod)
        self._gone.pop(node["metadata"]["name"], None)
        return None if leaving(pod) else await self._judge(pod, _taints(node))

    async def _judge(self, pod: Object, taints: list[Object]) -> float | None:
        uid, at = pod["metadata"]["uid"], asyncio.get_running_loop().time()
        patience = _patience(pod, taints)
        if patience is None:
            if self._since.pop(uid, None) is not None:
                self._tell(pod, "Cancelling deletion of Pod")
            return None
        left = patience and self._since.setdefault(uid, at) + patience - at
        if left > 0:
            return left
        self._since.pop(uid, None)
        self._tell(pod, "Marking for deletion Pod")
        await self._remove(pod, BY_TAINT, {}, {})
        return None

    def _tell(self, pod: Object, what: str) -> None:
        text = f"{what} {pod['metadata']['namespace']}/{pod['metadata']['name']}"
        self._recorder.tell(pod, "TaintManagerEviction", text, kind="Pod")

    async def _collect(self, pod: Object) -> float | None:
        """Fail and forget a pod of a node that stays away: no kubelet will ever confirm its end."""
        at = asyncio.get_running_loop().time()
        left = self._gone.setdefault(pod["spec"]["nodeName"], at) + self._quarantine - at
        if left > 0:
            return left
        await self._remove(pod, BY_COLLECTOR, {} if terminal(pod) else {"phase": "Failed"}, {"gracePeriodSeconds": 0})
        return None

    async def _remove(self, pod: Object, why: Object, status: Object, options: Object) -> None:
        meta = pod["metadata"]
        options = options | {"preconditions": {"uid": meta["uid"]}}
        try:
            await set_pod_condition(self._client, pod, {"type": "DisruptionTarget", "status": "True"} | why, status)
            await self._client.delete(PODS, meta["namespace"], meta["name"], options)
        except ApiError as error:
            if error.code not in (404, 409):  # It went meanwhile, or is another one by now.
                raise


def _taints(node: Object) -> list[Object]:
    return [t for t in (node.get("spec") or {}).get("taints") or () if t["effect"] == "NoExecute"]


def _patience(pod: Object, taints: list[Object]) -> float | None:
    """Seconds that the pod may stay: 0 where a taint is not tolerated at all, None for ever."""
    if not all(tolerated(pod, taint) for taint in taints):
        return 0.0
    used = [t for t in pod["spec"].get("tolerations") or () if any(tolerates(t, taint) for taint in taints)]
    limits = [max(0.0, t["tolerationSeconds"]) for t in used if t.get("tolerationSeconds") is not None]
    return min(limits, default=None)
