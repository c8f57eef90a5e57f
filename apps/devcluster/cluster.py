"""The whole development cluster as one asyncio process: API, controllers, scheduler, kubelet."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import logging
import os
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from apps.devcluster.api.node_port import LogUnavailable, NodeRefusal, Session
from apps.devcluster.api.server import start_api
from apps.devcluster.client import NODES, PODS, SERVICES, SLICES, Client, Informers
from apps.devcluster.controllers.accounts import AccountTokenController
from apps.devcluster.controllers.deployments import DeploymentController
from apps.devcluster.controllers.disruption import DisruptionController
from apps.devcluster.controllers.evictions import EvictionController
from apps.devcluster.controllers.jobs import JobController
from apps.devcluster.controllers.namespaces import NamespaceController
from apps.devcluster.controllers.nodes import NodeController
from apps.devcluster.controllers.proxy import ServiceProxy
from apps.devcluster.controllers.replicasets import ReplicaSetController
from apps.devcluster.controllers.services import ServiceController
from apps.devcluster.controllers.volumes import VolumeController
from apps.devcluster.kubelet.cgroups import Cgroups
from apps.devcluster.kubelet.context import LogLimits, NodeContext
from apps.devcluster.kubelet.heartbeat import RENEW_SECONDS, Heartbeat, host_resources
from apps.devcluster.kubelet.node import Kubelet
from apps.devcluster.kubelet.sandbox import Sandbox
from apps.devcluster.kubelet.usage import Usage
from apps.devcluster.loops import Recorder
from apps.devcluster.nodes import DEFAULT_NAME, Node, parse_node, pretend_gpus
from apps.devcluster.scheduler import Scheduler

log = logging.getLogger(__name__)
READY = "ready"  # a file in the data directory while the cluster is whole: it listens before it has its StorageClass


@dataclass(frozen=True)
class Options:
    """How to run; `nodes` and `gpus` are the texts of `--node` and `--pretend-gpus`."""

    data_dir: Path = Path("var/devcluster")
    port: int = 0
    nodes: list[str] = field(default_factory=list)
    gpus: str = ""
    deny_images: list[str] = field(default_factory=list)
    isolate: bool = True
    programs: str = ""
    logs: LogLimits = field(default_factory=LogLimits)
    node_grace: float = 50.0  # seconds without a heartbeat until a node counts as lost

    def declared(self) -> list[Node]:
        """The nodes to show; by default one with what the host has."""
        host = host_resources()
        found = [parse_node(text, host) for text in self.nodes] or [Node(DEFAULT_NAME, host)]
        return pretend_gpus(found, self.gpus) if self.gpus else found


class AlreadyRunningError(Exception):
    """Another process holds this data directory."""


class _NodeGate:
    """The API wants its node before the kubelet, which needs the API, can exist: this stands in between."""

    kubelet: Kubelet | None = None

    async def read_log(self, **options: Any) -> AsyncIterator[bytes]:
        """The kubelet's, once it is there."""
        if self.kubelet is None:
            raise LogUnavailable("the node is starting")
        async for block in self.kubelet.read_log(**options):
            yield block

    async def open_exec(self, **options: Any) -> Session:
        """The kubelet's, once it is there."""
        if self.kubelet is None:
            raise NodeRefusal("the node is starting")
        return await self.kubelet.open_exec(**options)

    async def open_attach(self, **options: Any) -> Session:
        """The kubelet's, once it is there."""
        if self.kubelet is None:
            raise NodeRefusal("the node is starting")
        return await self.kubelet.open_attach(**options)

    def pod_usage(self) -> list[dict[str, Any]]:
        """The kubelet's, once it is there."""
        return self.kubelet.pod_usage() if self.kubelet else []

    def node_usage(self) -> list[dict[str, Any]]:
        """The kubelet's, once it is there."""
        return self.kubelet.node_usage() if self.kubelet else []

    def summary(self, node: str) -> dict[str, Any]:
        """The kubelet's, once it is there."""
        return self.kubelet.summary(node) if self.kubelet else {}


@contextlib.contextmanager
def hold(data_dir: Path) -> Iterator[None]:
    """One process per data directory; the lock goes with the process, however it ends."""
    data_dir.mkdir(parents=True, exist_ok=True)
    with (data_dir / "pid").open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise AlreadyRunningError(f"a devcluster already runs in {data_dir}") from error
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        try:
            yield
        finally:
            file.truncate(0)


async def run(options: Options) -> None:
    """Run until SIGTERM or SIGINT."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    data_dir = options.data_dir.resolve()
    with hold(data_dir):
        (data_dir / READY).unlink(missing_ok=True)  # Of one that was killed; we do not listen yet.
        async with running(options, data_dir) as ready:
            (data_dir / READY).touch()
            # One line of JSON: whoever started us reads it instead of polling.
            print(json.dumps({"ready": True, **ready}), flush=True)  # noqa: T201
            await stop.wait()
        (data_dir / READY).unlink(missing_ok=True)


@contextlib.asynccontextmanager
async def running(options: Options, data_dir: Path) -> AsyncIterator[dict[str, str]]:
    """The cluster, for as long as the block lasts."""
    gate = _NodeGate()
    api = await start_api(data_dir, options.port, gate)
    client = Client(str(api.socket_path), api.admin_token)
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(api.close)
        stack.push_async_callback(client.close)
        informers = Informers(client)
        context = _context(options, data_dir, client, informers, api.url)
        gate.kubelet = kubelet = Kubelet(context, informers[PODS])
        heartbeat = Heartbeat(context, informers[NODES], kubelet, min(RENEW_SECONDS, options.node_grace / 4))
        kubelet.sweep()
        await heartbeat.register(options.declared())
        volumes = VolumeController(client, informers, data_dir)
        await volumes.make_default_class()
        services = ServiceController(client, informers)
        await services.make_api_service(context.api_host, context.api_port)
        controllers = [
            volumes,
            JobController(client, informers),
            ReplicaSetController(client, informers),
            DeploymentController(client, informers),
            DisruptionController(client, informers),
            NamespaceController(client, informers),
            AccountTokenController(client, informers, api.tokens.issue_lasting, api.ca),
            NodeController(client, informers, options.node_grace),
            EvictionController(client, informers, options.node_grace),
            services,
        ]
        proxy = ServiceProxy(client, informers)
        stack.callback(proxy.close)
        kubelet.start()
        loops = [informers.run(), Scheduler(client, informers).run(), context.usage.run(), kubelet.rotate_logs()]
        tasks = [asyncio.create_task(loop) for loop in loops]
        stack.push_async_callback(_cancel, tasks)
        for controller in controllers:
            stack.callback(controller.queue.close)
        stack.push_async_callback(kubelet.stop)
        await informers.synced()
        kubelet.forget_unknown()
        heartbeat.start()
        tasks.append(asyncio.create_task(heartbeat.run()))
        for task in tasks:
            task.add_done_callback(_end_with)
        if warning := context.sandbox.warning:
            log.warning(warning)
        yield {"url": api.url, "kubeconfig": str(api.kubeconfig_path), "data_dir": str(data_dir)}


def _context(options: Options, data_dir: Path, client: Client, informers: Informers, url: str) -> NodeContext:
    address = urlsplit(url)
    return NodeContext(
        client=client,
        recorder=Recorder(client, "kubelet"),
        sandbox=Sandbox.detect(data_dir, isolate=options.isolate),
        cgroups=Cgroups(),
        usage=Usage(),
        data_dir=data_dir,
        services=informers[SERVICES],
        slices=informers[SLICES],
        nodes={},
        api_host=address.hostname or "127.0.0.1",
        api_port=address.port or 443,
        denied_images=tuple(options.deny_images),
        programs=options.programs,
        logs=options.logs,
    )


def _end_with(task: asyncio.Task[None]) -> None:
    """A loop that dies of an error ends the cluster: half of one would only look slow."""
    if not task.cancelled() and task.exception():
        log.error("a control loop ended", exc_info=task.exception())
        signal.raise_signal(signal.SIGTERM)


async def _cancel(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def main(options: Options) -> int:
    """Run in the foreground; the exit code."""
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    try:
        asyncio.run(run(options))
    except AlreadyRunningError as error:
        log.error("%s", error)
        return 1
    return 0
