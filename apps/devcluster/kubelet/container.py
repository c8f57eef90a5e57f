"""One run of one container: start, output, commands inside it, end."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from apps.devcluster.kubelet.cgroups import Cgroup
from apps.devcluster.kubelet.logs import LogFile
from apps.devcluster.kubelet.process import Process, Sink
from apps.devcluster.kubelet.sandbox import ContainerSpec, Sandbox

# A viewer that lags this many blocks behind is let go: it must not hold the container up.
VIEWER_BLOCKS = 256
PROBE_OUTPUT_BYTES = 10 * 1024


@dataclass(frozen=True)
class Exit:
    """How a run ended."""

    code: int
    oom_killed: bool
    finished_at: float


class ContainerRun:
    """A process with its log, its cgroups, and those who look at it or work inside it."""

    def __init__(
        self,
        sandbox: Sandbox,
        spec: ContainerSpec,
        log: LogFile,
        pid_dir: Path,
        cgroups: list[Cgroup],
        swap: Callable[[str], str],
    ) -> None:
        self._sandbox, self.spec, self.log = sandbox, spec, log
        self._pid_dir, self._cgroups, self._swap = pid_dir, cgroups, swap
        self.process = Process(sandbox, pid_dir)
        self._inside: set[Process] = set()
        self._viewers: set[asyncio.Queue[tuple[bytes, bytes]]] = set()
        self.started_at = 0.0
        self.oom_marked = False

    async def start(self) -> None:
        """Launch; `StartError` where the command cannot be executed."""
        try:
            await self.process.start(self.spec)
        except BaseException:
            self.discard()
            raise
        self.started_at = time.time()

    async def wait(self) -> Exit:
        """Until the container has ended and its output is read."""
        code = await self.process.pump(self._record)
        finished_at = time.time()
        oom_killed = self.oom_marked or any(group.oom_kills() for group in self._cgroups)
        await asyncio.gather(*(process.discard() for process in list(self._inside)))
        await self.process.discard()
        self.discard()
        return Exit(code, oom_killed and code != 0, finished_at)

    def discard(self) -> None:
        """Let go of what is not the process's."""
        self.log.close()
        for viewer in self._viewers:
            _give(viewer, (b"", b""))
        self._viewers.clear()
        for group in self._cgroups:
            group.remove()

    async def _record(self, name: bytes, data: bytes) -> None:
        self.log.feed(name, data)
        for viewer in [v for v in self._viewers if not _give(v, (name, data))]:
            self._viewers.discard(viewer)

    async def view(self, sink: Sink) -> None:
        """Give `sink` what the container writes from now on, until it ends (or the sink lags too far behind)."""
        queue: asyncio.Queue[tuple[bytes, bytes]] = asyncio.Queue(VIEWER_BLOCKS)
        self._viewers.add(queue)
        try:
            while queue in self._viewers or not queue.empty():
                name, data = await queue.get()
                if not name:
                    return
                await sink(name, data)
        finally:
            self._viewers.discard(queue)

    # -- commands inside it

    async def enter(self, argv: list[str], *, stdin: bool = False, tty: bool = False) -> Process:
        """Start a command inside the container; whoever asked discards it, at the latest the container's end."""
        argv = [self._swap(text) for text in argv]
        env = {"TERM": "xterm", **self.spec.env} if tty else self.spec.env
        spec = replace(self.spec, argv=argv, env=env, stdin=stdin, tty=tty, shared_processes=False)
        process = Process(self._sandbox, self._pid_dir, self.pid)
        self._inside.add(process)
        try:
            await process.start(spec)
        except BaseException:
            self._inside.discard(process)
            await process.discard()
            raise
        return process

    async def leave(self, process: Process) -> None:
        """End a command that was started inside."""
        self._inside.discard(process)
        await process.discard()

    async def execute(self, argv: list[str], seconds: float) -> tuple[int, bytes]:
        """Run a command inside (hooks, probes): exit code and output; `TimeoutError` after the time is up."""
        output = bytearray()

        async def keep(_: bytes, data: bytes) -> None:
            output.extend(data[: PROBE_OUTPUT_BYTES - len(output)])

        async with asyncio.timeout(seconds):
            process = await self.enter(argv)
            try:
                return await process.pump(keep), bytes(output)
            finally:
                await self.leave(process)

    # -- its end

    @property
    def pid(self) -> int:
        """Of the container's first process, as the host counts."""
        return self.process.pid

    def terminate(self) -> None:
        """SIGTERM to the container's first process (mapped mode: to its process group)."""
        if self.running:
            self.process.signal(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL to everything in the container."""
        if self.running:
            self.process.kill()

    @property
    def paused(self) -> bool:
        """Whether `pid` is a pause with the command as its child."""
        return self._sandbox.isolated and self.spec.shared_processes

    @property
    def running(self) -> bool:
        """Whether the process has started and not ended."""
        return self.process.running


def _give(queue: asyncio.Queue[tuple[bytes, bytes]], item: tuple[bytes, bytes]) -> bool:
    try:
        queue.put_nowait(item)
    except asyncio.QueueFull:
        return False
    return True
