"""How nodes show that they live: registered, a Lease renewed, a status written; and how they are lost on purpose.

A real kubelet renews its Lease every 10 s and writes an unchanged status every 5 min. What goes silent here is judged
by the node controller, as there. Source: https://kubernetes.io/docs/concepts/architecture/nodes/#node-heartbeats
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import platform
from collections.abc import Coroutine
from datetime import UTC, datetime
from typing import Any

import aiohttp
import psutil

from apps.devcluster.client import LEASES, NODES, ApiError, Informer, Object
from apps.devcluster.kubelet.context import HOST_IP, NodeContext
from apps.devcluster.kubelet.node import Kubelet
from apps.devcluster.loops import now
from apps.devcluster.nodes import ADDED, CRASHED, LOST, Node, parse_node

LEASE_NAMESPACE = "kube-node-lease"
LEASE_SECONDS = 40
RENEW_SECONDS = 10.0
STATUS_SECONDS = 300.0
QUIET = {
    "MemoryPressure": ("KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
    "DiskPressure": ("KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
    "PIDPressure": ("KubeletHasSufficientPID", "kubelet has sufficient PID available"),
}


class Heartbeat:
    """Speaks for all nodes of this process, but for those that are lost."""

    def __init__(self, context: NodeContext, nodes: Informer, kubelet: Kubelet, renew_seconds: float) -> None:
        self._context, self._nodes, self._kubelet = context, nodes, kubelet
        self._renew_seconds = renew_seconds
        self._declared: dict[str, Node] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}

    async def register(self, declared: list[Node]) -> None:
        """Make the Node objects real; a node that was lost before a restart still is, and its processes are dead."""
        for node in declared:
            meta = {"name": node.name, "labels": _labels(node)}
            body = {"metadata": meta, "spec": {"taints": node.taints} if node.taints else {}}
            try:
                known = await self._context.client.create(NODES, None, body)
            except ApiError as error:
                if not error.conflict:
                    raise
                known = await self._context.client.patch(NODES, None, node.name, {"metadata": meta})
            self._declared[node.name], self._context.nodes[node.name] = node, known
            if (known["metadata"].get("annotations") or {}).get(LOST):
                self._context.lost.add(node.name)
            else:
                await self._write_status(known)

    def start(self) -> None:
        """Obey what the command line writes on the Nodes."""
        self._nodes.subscribe(self._on_node)

    async def run(self) -> None:
        """For ever: renew the leases; write the statuses as often as a kubelet does."""
        since_status = 0.0
        while True:
            due = since_status >= STATUS_SECONDS
            for name in list(self._declared):
                node = self._nodes.get("", name)  # A deleted Node comes back with the next start only.
                if node and name not in self._context.lost:
                    await self._beat(node, status=due or _ready(node) != "True")
            since_status = 0.0 if due else since_status + self._renew_seconds
            await asyncio.sleep(self._renew_seconds)

    async def _beat(self, node: Object, *, status: bool) -> None:
        with contextlib.suppress(ApiError, aiohttp.ClientError, OSError):  # The next one is soon.
            await self._renew(node)
            if status:
                await self._write_status(node)

    async def _renew(self, node: Object) -> None:
        client, name = self._context.client, node["metadata"]["name"]
        spec = {"holderIdentity": name, "leaseDurationSeconds": LEASE_SECONDS}
        spec["renewTime"] = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        try:
            await client.patch(LEASES, LEASE_NAMESPACE, name, {"spec": spec})
        except ApiError as error:
            if not error.missing:
                raise
            owner = {"apiVersion": "v1", "kind": "Node", "name": name, "uid": node["metadata"]["uid"]}
            body = {"metadata": {"name": name, "ownerReferences": [owner]}, "spec": spec}
            await client.create(LEASES, LEASE_NAMESPACE, body)

    async def _write_status(self, node: Object) -> None:
        name = node["metadata"]["name"]
        status = node_status(self._declared[name], self._context.sandbox.warning, node.get("status") or {})
        known = await self._context.client.patch(NODES, None, name, {"status": status}, "status")
        self._context.nodes[name] = known
        if _ready(node) in ("False", "Unknown"):
            text = f"Node {name} status is now: NodeReady"
            self._context.recorder.tell(known, "NodeReady", text, kind="Node", host=name)

    # -- nodes that come, go and return

    def _on_node(self, kind: str, node: Object) -> None:
        name, marks = node["metadata"]["name"], node["metadata"].get("annotations") or {}
        if kind == "DELETED":
            if ADDED in marks:
                self._declared.pop(name, None)
        elif name in self._tasks:
            return
        elif name not in self._declared:
            if ADDED in marks:
                self._later(name, self._appear(parse_node(marks[ADDED], host_resources())))
        elif LOST in marks:
            self._kubelet.lose(name, crashed=marks[LOST] == CRASHED)
        elif name in self._context.lost:
            self._later(name, self._return(name))

    def _later(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        async def then_look_again() -> None:
            try:
                await work
            finally:
                del self._tasks[name]
            if node := self._nodes.get("", name):
                self._on_node("MODIFIED", node)

        self._tasks[name] = asyncio.get_running_loop().create_task(then_look_again())

    async def _appear(self, added: Node) -> None:
        await self.register([added])
        if added.name not in self._context.lost:
            await self._return(added.name)

    async def _return(self, name: str) -> None:
        if node := self._nodes.get("", name):
            await self._beat(node, status=True)
        await self._kubelet.hear(name)


def _ready(node: Object) -> str | None:
    """What the Ready condition says; None where there is none yet."""
    conditions = (node.get("status") or {}).get("conditions") or ()
    return next((item["status"] for item in conditions if item["type"] == "Ready"), None)


def _architecture() -> str:
    return {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())


def _labels(node: Node) -> dict[str, str]:
    return {
        "kubernetes.io/hostname": node.name,
        "kubernetes.io/os": platform.system().lower(),
        "kubernetes.io/arch": _architecture(),
        "node.kubernetes.io/instance-type": "devcluster",
    } | node.labels


def node_status(node: Node, warning: str | None, known: Object) -> Object:
    """A healthy node's status; conditions that `known` has already keep the time of their last change."""
    resources = {"ephemeral-storage": "100Gi", "pods": "1000", **node.resources}
    listed = [_condition(kind, "False", *words) for kind, words in QUIET.items()]
    listed.append(_condition("Ready", "True", "KubeletReady", "kubelet is posting ready status"))
    if warning:
        listed.append(_condition("ContainersNotIsolated", "True", "PathMapping", warning))
    since = {(c["type"], c["status"]): c["lastTransitionTime"] for c in known.get("conditions") or ()}
    for item in listed:
        item["lastTransitionTime"] = since.get((item["type"], item["status"]), item["lastTransitionTime"])
    info = {
        "architecture": _architecture(),
        "operatingSystem": platform.system().lower(),
        "kernelVersion": platform.release(),
        "osImage": platform.platform(terse=True),
        "containerRuntimeVersion": "devcluster://1",
        "kubeletVersion": "v1.36.2",
        "kubeProxyVersion": "",
        "bootID": "",
        "machineID": "",
        "systemUUID": "",
    }
    addresses = [{"type": "InternalIP", "address": HOST_IP}, {"type": "Hostname", "address": node.name}]
    return {
        "capacity": resources,
        "allocatable": resources,
        "conditions": listed,
        "addresses": addresses,
        "nodeInfo": info,
    }


def _condition(kind: str, status: str, reason: str, message: str) -> Object:
    at = now()
    base = {"type": kind, "status": status, "lastHeartbeatTime": at, "lastTransitionTime": at}
    return base | {"reason": reason, "message": message}


def host_resources() -> dict[str, str]:
    """The host's processors and memory as a node's capacity."""
    return {"cpu": str(os.cpu_count() or 1), "memory": f"{psutil.virtual_memory().total // 1024}Ki"}
