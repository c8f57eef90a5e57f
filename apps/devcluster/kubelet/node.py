"""The kubelet: a worker per pod bound to one of our nodes, and what the API server asks of a node."""

from __future__ import annotations

import asyncio
import os
import platform
import time
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any

import psutil

from apps.devcluster.api.node_port import LogUnavailable
from apps.devcluster.client import NODES, ApiError, Informer, Object
from apps.devcluster.kubelet import volumes
from apps.devcluster.kubelet.container import sweep
from apps.devcluster.kubelet.context import HOST_IP, NodeContext
from apps.devcluster.kubelet.logs import LogOptions, read_log
from apps.devcluster.kubelet.pod import PodWorker
from apps.devcluster.kubelet.usage import SAMPLE_SECONDS, Sample
from apps.devcluster.loops import now
from apps.devcluster.nodes import Node

STOP_SECONDS = 5.0
WAITING_FOR_IMAGE = {
    "ErrImagePull": "image can't be pulled",
    "ImagePullBackOff": "trying and failing to pull image",
    "ErrImageNeverPull": "ErrImageNeverPull",
}


class Kubelet:
    """Keeps the workers in step with the API's pods; implements `NodePort`."""

    def __init__(self, context: NodeContext, pods: Informer) -> None:
        self._context, self._pods = context, pods
        self._workers: dict[str, PodWorker] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._started = time.time()

    # -- life

    async def register(self, nodes: list[Node]) -> None:
        """Make our Node objects real and sweep what an earlier run left."""
        sweep(self._context.pid_dir)
        self._context.cgroups.sweep()
        for node in nodes:
            body = self._node_object(node)
            try:
                known = await self._context.client.create(NODES, None, body)
            except ApiError as error:
                if not error.conflict:
                    raise
                labels = {"metadata": {"labels": body["metadata"]["labels"]}}
                known = await self._context.client.patch(NODES, None, node.name, labels)
            status = {"status": body["status"]}
            known = await self._context.client.patch(NODES, None, node.name, status, "status")
            self._context.nodes[node.name] = known

    def start(self) -> None:
        """Follow the pods and what changes their hosts files."""
        self._pods.subscribe(self._on_pod)
        self._context.slices.subscribe(self._on_slice)

    def forget_unknown(self) -> None:
        """Remove the folders of pods deleted while we were away; to be called once the pods are known."""
        known = {pod["metadata"]["uid"] for pod in self._pods.items.values()}
        parent = self._context.pod_folder("")
        for folder in parent.iterdir() if parent.is_dir() else ():
            if folder.name not in known:
                volumes.remove(folder)

    async def stop(self) -> None:
        """Kill every container and let the workers end; statuses are written at the next start."""
        for task in self._tasks.values():
            task.cancel()
        for worker in self._workers.values():
            for supervisor in worker.supervisors.values():
                supervisor.kill()
        if self._tasks:
            await asyncio.wait(self._tasks.values(), timeout=STOP_SECONDS)
        sweep(self._context.pid_dir)

    def _on_pod(self, kind: str, pod: Object) -> None:
        uid, node = pod["metadata"]["uid"], pod["spec"].get("nodeName")
        worker = self._workers.get(uid)
        if kind == "DELETED":
            if worker:
                worker.vanish()
                self._background(self._clean(uid), f"clean-{uid}")
        elif worker:
            worker.update(pod)
            if worker.finished and pod["metadata"].get("deletionTimestamp") and uid not in self._tasks:
                self._background(worker.confirm_deletion(), uid)
        elif node and node not in self._context.nodes and pod["metadata"].get("deletionTimestamp"):
            # Bound to a node that is not there: nobody else would confirm, and its namespace would never go.
            self._background(PodWorker(self._context, pod).confirm_deletion(), uid)
        elif node in self._context.nodes:
            self._workers[uid] = worker = PodWorker(self._context, pod)
            if pod["metadata"].get("deletionTimestamp"):
                worker.update(pod)
            self._background(worker.run(), uid)

    def _background(self, work: Any, key: str) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks[key] = task
        task.add_done_callback(lambda done: self._tasks.pop(key) if self._tasks.get(key) is done else None)

    async def _clean(self, uid: str) -> None:
        if task := self._tasks.get(uid):
            await asyncio.wait({task})
        self._workers.pop(uid, None)
        folder = self._context.pod_folder(uid)
        await asyncio.get_running_loop().run_in_executor(None, volumes.remove, folder)

    def _on_slice(self, kind: str, item: Object) -> None:
        for worker in self._workers.values():
            same = worker.pod["metadata"]["namespace"] == item["metadata"]["namespace"]
            if same and worker.runner and not worker.finished:
                worker.runner.write_hosts()

    # -- what we say about our nodes

    def _node_object(self, node: Node) -> Object:
        kernel, machine = platform.release(), {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine())
        system = platform.system().lower()
        labels = {"kubernetes.io/hostname": node.name, "kubernetes.io/os": system}
        labels |= {
            "kubernetes.io/arch": machine or platform.machine(),
            "node.kubernetes.io/instance-type": "devcluster",
        }
        resources = {"ephemeral-storage": "100Gi", "pods": "1000", **node.resources}
        warning = self._context.sandbox.warning
        quiet = {
            "MemoryPressure": "kubelet has sufficient memory available",
            "DiskPressure": "kubelet has no disk pressure",
            "PIDPressure": "kubelet has sufficient PID available",
        }
        listed = [
            _condition(kind, "False", f"KubeletHas{'Sufficient' if 'Disk' not in kind else 'No'}{kind}", text)
            for kind, text in quiet.items()
        ]
        listed.append(_condition("Ready", "True", "KubeletReady", "kubelet is posting ready status"))
        if warning:
            listed.append(_condition("ContainersNotIsolated", "True", "PathMapping", warning))
        info = {
            "architecture": machine or platform.machine(),
            "operatingSystem": system,
            "kernelVersion": kernel,
            "osImage": platform.platform(terse=True),
            "containerRuntimeVersion": "devcluster://1",
            "kubeletVersion": "v1.36.2",
            "kubeProxyVersion": "",
            "bootID": "",
            "machineID": "",
            "systemUUID": "",
        }
        status = {
            "capacity": resources,
            "allocatable": resources,
            "conditions": listed,
            "addresses": [
                {"type": "InternalIP", "address": HOST_IP},
                {"type": "Hostname", "address": node.name},
            ],
            "nodeInfo": info,
        }
        meta = {"name": node.name, "labels": labels | node.labels}
        return {"metadata": meta, "spec": {}, "status": status}

    # -- NodePort

    async def read_log(
        self,
        *,
        pod: dict[str, Any],
        container: str,
        previous: bool,
        follow: bool,
        tail_lines: int | None,
        since: datetime | None,
        timestamps: bool,
        limit_bytes: int | None,
    ) -> AsyncIterator[bytes]:
        """A container's log, or `LogUnavailable` with the kubelet's words."""
        worker = self._workers.get(pod["metadata"]["uid"])
        if worker is None:
            return  # Not scheduled yet: real API servers answer with an empty log.
        slot = next((s for s in [*worker.inits, *worker.mains] if s.name == container), None)
        where = f'container "{container}" in pod "{pod["metadata"]["name"]}"'
        if slot is None:
            raise LogUnavailable(f"{where} is not available")
        number = slot.restarts
        if previous:
            if not slot.last_state.get("terminated"):
                raise LogUnavailable(f"previous terminated {where} not found")
            number -= 0 if "waiting" in slot.state else 1
        elif "waiting" in slot.state and not slot.last_state:
            reason = slot.state["waiting"]["reason"]
            raise LogUnavailable(f"{where} is waiting to start: {WAITING_FOR_IMAGE.get(reason, reason)}")
        supervisor = worker.supervisors.get(container)
        live = supervisor.run_now.log if supervisor and supervisor.run_now and not previous else None
        start = int(since.timestamp() * 1_000_000) * 1000 if since else None
        options = LogOptions(follow, tail_lines, start, timestamps, limit_bytes)
        path = self._context.pod_folder(worker.uid) / container / f"{number}.log"
        yield b""  # The log exists: whoever follows a silent container gets its headers now.
        async for block in read_log(path, options, live):
            yield block

    def pod_usage(self) -> list[dict[str, Any]]:
        """PodMetrics of all running pods."""
        items = []
        for uid, worker in self._workers.items():
            if samples := self._context.usage.of_pod(uid):
                meta = {key: worker.pod["metadata"].get(key) for key in ("name", "namespace", "labels")}
                containers = [{"name": name, "usage": _usage(sample)} for name, sample in samples.items()]
                items.append({"metadata": meta, **_window(), "containers": containers})
        return items

    def node_usage(self) -> list[dict[str, Any]]:
        """NodeMetrics: the sum over a node's containers, since several declared nodes share one host."""
        totals = {name: Sample(0, 0) for name in self._context.nodes}
        for uid, worker in self._workers.items():
            total = totals[worker.pod["spec"]["nodeName"]]
            for sample in self._context.usage.of_pod(uid).values():
                total.nanocores += sample.nanocores
                total.memory_bytes += sample.memory_bytes
        return [{"metadata": {"name": name}, **_window(), "usage": _usage(t)} for name, t in totals.items()]


def _usage(sample: Sample) -> dict[str, str]:
    return {"cpu": f"{sample.nanocores}n", "memory": f"{sample.memory_bytes // 1024}Ki"}


def _window() -> dict[str, str]:
    return {"timestamp": now(), "window": f"{SAMPLE_SECONDS:.0f}s"}


def _condition(kind: str, status: str, reason: str, message: str) -> Object:
    at = now()
    base = {"type": kind, "status": status, "lastHeartbeatTime": at, "lastTransitionTime": at}
    return base | {"reason": reason, "message": message}


def host_resources() -> dict[str, str]:
    """The host's processors and memory as a node's capacity."""
    return {"cpu": str(os.cpu_count() or 1), "memory": f"{psutil.virtual_memory().total // 1024}Ki"}
