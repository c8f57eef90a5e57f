"""The kubelet: a worker per pod bound to one of our nodes, and what the API server asks of a node."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any

from apps.devcluster.api.node_port import CannotStart, LogUnavailable, NodeRefusal, NodeUnreachable, Session
from apps.devcluster.client import Informer, Object
from apps.devcluster.kubelet import stats, volumes
from apps.devcluster.kubelet.container import ContainerRun
from apps.devcluster.kubelet.context import HOST_IP, NodeContext
from apps.devcluster.kubelet.logs import LogOptions, read_log
from apps.devcluster.kubelet.pod import PodWorker
from apps.devcluster.kubelet.process import StartError, sweep
from apps.devcluster.kubelet.sessions import AttachSession, ExecSession

STOP_SECONDS = 5.0
HOSTS_SECONDS = 0.05  # until changed names are in the hosts files of running pods
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
        self._names: asyncio.TimerHandle | None = None

    # -- life

    def sweep(self) -> None:
        """End what an earlier run left."""
        sweep(self._context.pid_dir)
        self._context.cgroups.sweep()

    def start(self) -> None:
        """Follow the pods and what changes their hosts files."""
        self._pods.subscribe(self._on_pod)
        self._context.slices.subscribe(self._on_names)
        self._context.services.subscribe(self._on_names)

    def forget_unknown(self) -> None:
        """Remove the folders of pods deleted while we were away; to be called once the pods are known."""
        known = {pod["metadata"]["uid"] for pod in self._pods.items.values()} | self._workers.keys()
        parent = self._context.pod_folder("")
        for folder in parent.iterdir() if parent.is_dir() else ():
            if folder.name not in known:
                volumes.remove(folder)

    async def rotate_logs(self) -> None:
        """For ever: set aside the logs that have grown too large, as often as the kubelet looks."""
        limits = self._context.logs
        while True:
            await asyncio.sleep(limits.interval)
            for worker in self._workers.values():
                for supervisor in worker.supervisors.values():
                    if supervisor.run_now:
                        supervisor.run_now.log.rotate(limits.max_bytes, limits.max_files)

    async def stop(self) -> None:
        """Kill every container and let the workers end; statuses are written at the next start."""
        if self._names:
            self._names.cancel()
        for task in self._tasks.values():
            task.cancel()
        for worker in self._workers.values():
            for supervisor in worker.supervisors.values():
                supervisor.kill()
        if self._tasks:
            await asyncio.wait(self._tasks.values(), timeout=STOP_SECONDS)
        sweep(self._context.pid_dir)

    def lose(self, node: str, *, crashed: bool) -> None:
        """Cut a node off: nothing more is told or heard. Its processes go on unseen, or, where it crashed, die."""
        self._context.lost.add(node)
        for worker in [w for w in self._workers.values() if w.node == node and crashed]:
            worker.vanish()
            self._background(self._forget(worker.uid), f"clean-{worker.uid}")

    async def hear(self, node: str) -> None:
        """A node is new or back: act on what was asked of it meanwhile, and tell what has happened there."""
        if dying := [task for key, task in self._tasks.items() if key.startswith("clean-")]:
            await asyncio.wait(dying)
        self._context.lost.discard(node)
        mine = [worker for worker in self._workers.values() if worker.node == node]
        for worker in mine:
            worker.doubt()
            if worker.uid not in {pod["metadata"]["uid"] for pod in self._pods.items.values()}:
                self._on_pod("DELETED", worker.pod)
        for pod in list(self._pods.items.values()):
            if pod["spec"].get("nodeName") == node:
                self._on_pod("MODIFIED", pod)
        for worker in mine:
            await worker.publish()

    def _on_pod(self, kind: str, pod: Object) -> None:
        uid, node = pod["metadata"]["uid"], pod["spec"].get("nodeName")
        if node not in self._context.nodes or node in self._context.lost:
            return
        worker = self._workers.get(uid)
        if kind == "DELETED":
            if worker:
                worker.vanish()
                self._background(self._clean(uid), f"clean-{uid}")
        elif worker:
            worker.update(pod)
            if worker.finished and pod["metadata"].get("deletionTimestamp") and uid not in self._tasks:
                self._background(worker.confirm_deletion(), uid)
        else:
            self._workers[uid] = worker = PodWorker(self._context, pod)
            if pod["metadata"].get("deletionTimestamp"):
                worker.update(pod)
            self._background(worker.run(), uid)

    def _background(self, work: Any, key: str) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks[key] = task
        task.add_done_callback(lambda done: self._tasks.pop(key) if self._tasks.get(key) is done else None)

    async def _forget(self, uid: str) -> None:
        if task := self._tasks.get(uid):
            await asyncio.wait({task})
        self._workers.pop(uid, None)

    async def _clean(self, uid: str) -> None:
        await self._forget(uid)
        folder = self._context.pod_folder(uid)
        await asyncio.get_running_loop().run_in_executor(None, volumes.remove, folder)

    def _on_names(self, kind: str, item: Object) -> None:
        """Many changes at once are written once: a gang starts, a rollout goes through."""
        if self._names is None:
            self._names = asyncio.get_running_loop().call_later(HOSTS_SECONDS, self._write_hosts)

    def _write_hosts(self) -> None:
        self._names = None
        for worker in self._workers.values():
            if worker.runner and not worker.finished:
                worker.runner.write_hosts()

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
        self._reach(pod, "containerLogs")
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
            if worker.lost:
                return
            yield block

    async def open_exec(
        self, *, pod: dict[str, Any], container: str, command: list[str], stdin: bool, tty: bool
    ) -> Session:
        """A command in a running container."""
        run = self._running(pod, container)
        if not command:
            raise CannotStart("args must not be empty")
        try:
            return ExecSession(run, await run.enter(command, stdin=stdin, tty=tty))
        except StartError as error:
            raise CannotStart(f"unable to start container process: {error}") from None

    async def open_attach(self, *, pod: dict[str, Any], container: str, stdin: bool) -> Session:
        """A running container's own streams."""
        return AttachSession(self._running(pod, container), stdin=stdin)

    def _reach(self, pod: Object, door: str) -> None:
        if pod["spec"].get("nodeName") in self._context.lost:
            where = f"{HOST_IP}:10250"
            path = f"{door}/{pod['metadata']['namespace']}/{pod['metadata']['name']}"
            raise NodeUnreachable(f'Get "https://{where}/{path}": dial tcp {where}: connect: no route to host')

    def _running(self, pod: Object, container: str) -> ContainerRun:
        self._reach(pod, "exec")
        worker = self._workers.get(pod["metadata"]["uid"])
        supervisor = worker.supervisors.get(container) if worker else None
        if supervisor is None or supervisor.run_now is None or not supervisor.run_now.running:
            raise NodeRefusal(f'container not found ("{container}")')
        return supervisor.run_now

    def pod_usage(self) -> list[dict[str, Any]]:
        """PodMetrics of all running pods."""
        return stats.pod_metrics(self._context, self._seen())

    def node_usage(self) -> list[dict[str, Any]]:
        """NodeMetrics of all our nodes."""
        return stats.node_metrics(self._context, self._seen())

    def summary(self, node: str) -> dict[str, Any]:
        """The kubelet's /stats/summary."""
        return stats.summary(self._context, self._seen(), node)

    def _seen(self) -> list[PodWorker]:
        return [worker for worker in self._workers.values() if not worker.lost]
