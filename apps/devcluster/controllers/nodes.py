"""Nodes that fall silent, and what is said about it (pkg/controller/nodelifecycle): conditions, taints, pods not ready.

Unlike the real controller this one taints a silent node whatever the others do: there, a cluster all of whose nodes
are silent is taken for a fault of the network, and nobody is evicted.
"""

from __future__ import annotations

import asyncio

from apps.devcluster.client import LEASES, NODES, PODS, Client, Informers, Object
from apps.devcluster.controllers.owner import condition, find_condition, leaving, terminal
from apps.devcluster.loops import Recorder, WorkQueue, now, set_pod_condition

LEASE_NAMESPACE = "kube-node-lease"
LOOK_EVERY_SECONDS = 5.0
JUDGED = ("Ready", "MemoryPressure", "DiskPressure", "PIDPressure")
PREFIX = "node.kubernetes.io/"
BY_READINESS = {"Unknown": "unreachable", "False": "not-ready"}
Taint = tuple[str, str]  # key and effect


class NodeController:
    """Looks at every node as often as the real one, and at once when the node changes."""

    def __init__(self, client: Client, informers: Informers, grace: float) -> None:
        self._client, self._grace, self._period = client, grace, min(LOOK_EVERY_SECONDS, grace / 4)
        self._nodes, self._leases, self._pods = informers[NODES], informers[LEASES], informers[PODS]
        self._recorder = Recorder(client, "node-controller")
        self._heard: dict[str, tuple[str, float, float]] = {}  # the last sign, seconds since, when we looked
        self.queue = WorkQueue(self.reconcile)
        self._nodes.subscribe(lambda kind, node: self.queue.add("", node["metadata"]["name"]))

    async def reconcile(self, _: str, name: str) -> float | None:
        """One look at one node; seconds until the next."""
        node = self._nodes.get("", name)
        if node is None or leaving(node):
            self._heard.pop(name, None)
            return None
        if self._silence(node) > self._grace:
            node = await self._doubt(node)
        await self._taint(node)
        if _readiness(node) in BY_READINESS:
            await self._mark_pods(name)
        return self._period

    def _silence(self, node: Object) -> float:
        """Seconds of which we know that nothing was heard: a process that was held up has not lost its nodes."""
        name, at = node["metadata"]["name"], asyncio.get_running_loop().time()
        lease = self._leases.get(LEASE_NAMESPACE, name) or {}
        ready = find_condition(node.get("status") or {}, "Ready") or {}
        posted = ready.get("lastHeartbeatTime") if ready.get("status") != "Unknown" else ""
        sign = f"{(lease.get('spec') or {}).get('renewTime')} {posted}"
        before, silence, looked = self._heard.get(name, ("", 0.0, at))
        silence = silence + min(at - looked, 2 * self._period) if sign == before else 0.0
        self._heard[name] = (sign, silence, at)
        return silence

    async def _doubt(self, node: Object) -> Object:
        """All that the kubelet says about its node is Unknown from now on."""
        before, status = _readiness(node), dict(node.get("status") or {})
        if before == "Unknown":
            return node
        known = {item["type"]: item for item in status.get("conditions") or ()}
        for kind in JUDGED:
            words = ("NodeStatusUnknown", "Kubelet stopped posting node status.")
            if kind not in known:
                words = ("NodeStatusNeverUpdated", "Kubelet never posted node status.")
                known[kind] = {"type": kind, "lastHeartbeatTime": node["metadata"]["creationTimestamp"]}
            known[kind] = known[kind] | {"status": "Unknown", "lastTransitionTime": now()}
            known[kind] |= {"reason": words[0], "message": words[1]}
        status["conditions"] = list(known.values())
        # With the version we judged by: a kubelet that has just returned wins.
        node = await self._client.replace(NODES, {**node, "status": status}, "status")
        if before == "True":
            text = f"Node {node['metadata']['name']} status is now: NodeNotReady"
            self._recorder.tell(node, "NodeNotReady", text, kind="Node")
        return node

    async def _taint(self, node: Object) -> None:
        """Our taints follow the readiness and `unschedulable`; others' are left alone."""
        meta, spec = node["metadata"], node.get("spec") or {}
        taints, wanted = spec.get("taints") or [], _wanted(node)
        ours = {PREFIX + name for name in (*BY_READINESS.values(), "unschedulable")}
        kept = [t for t in taints if t["key"] not in ours or (t["key"], t["effect"]) in wanted]
        missing = wanted - {(t["key"], t["effect"]) for t in kept}
        fresh = [{"key": key, "effect": effect, "timeAdded": now()} for key, effect in sorted(missing, reverse=True)]
        if len(kept) != len(taints) or fresh:
            body = {
                "metadata": {"resourceVersion": meta["resourceVersion"]},
                "spec": {"taints": [*kept, *fresh] or None},
            }
            await self._client.patch(NODES, None, meta["name"], body)

    async def _mark_pods(self, node: str) -> None:
        """Nobody can tell whether they are ready: services turn to others."""
        for pod in list(self._pods.items.values()):
            ready = condition(pod.get("status") or {}, "Ready")
            if pod["spec"].get("nodeName") == node and ready and not terminal(pod):
                await set_pod_condition(self._client, pod, {"type": "Ready", "status": "False"})
                self._recorder.tell(pod, "NodeNotReady", "Node is not ready", kind="Pod", warning=True)


def _readiness(node: Object) -> str | None:
    return (find_condition(node.get("status") or {}, "Ready") or {}).get("status")


def _wanted(node: Object) -> set[Taint]:
    wanted = set()
    if name := BY_READINESS.get(_readiness(node) or ""):
        wanted = {(PREFIX + name, "NoSchedule"), (PREFIX + name, "NoExecute")}
    if (node.get("spec") or {}).get("unschedulable"):
        wanted.add((PREFIX + "unschedulable", "NoSchedule"))
    return wanted
