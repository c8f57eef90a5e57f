"""One run of one container: start, output, end."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

from apps.devcluster.kubelet.cgroups import MemoryCgroup
from apps.devcluster.kubelet.logs import LogFile
from apps.devcluster.kubelet.sandbox import ContainerSpec, Sandbox

# What output a finished container left in its pipes is read at most this long (a stray child may hold them
# open).
DRAIN_SECONDS = 2.0


class StartError(Exception):
    """The command could not be started; the text is the runtime's."""


@dataclass(frozen=True)
class Exit:
    """How a run ended."""

    code: int
    oom_killed: bool
    finished_at: float


class ContainerRun:
    """A process group (isolated: a PID namespace) with its pipes and its log."""

    def __init__(
        self,
        sandbox: Sandbox,
        spec: ContainerSpec,
        log: LogFile,
        pid_dir: Path,
        memory: MemoryCgroup | None = None,
    ) -> None:
        self._sandbox, self._spec, self.log = sandbox, spec, log
        self._pid_dir, self._memory = pid_dir, memory
        self._outer: asyncio.subprocess.Process | None = None
        self._pumps: list[asyncio.Task[None]] = []
        self.pid = 0
        self.started_at = 0.0
        self.oom_marked = False

    async def start(self) -> None:
        """Launch; `StartError` where the command cannot be executed."""
        reader, writer = os.pipe()
        try:
            self._outer = await asyncio.create_subprocess_exec(
                *self._sandbox.command(self._spec, writer),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                pass_fds=(writer,),
                limit=256 * 1024,
            )
        except BaseException:
            os.close(reader)
            raise
        finally:
            os.close(writer)
        self._pid_file.write_text(_start_time(self._outer.pid))
        lines = (await _read_pipe(reader)).decode(errors="replace").splitlines()
        self.started_at = time.time()
        for line in lines:
            kind, _, rest = line.partition(" ")
            if kind == "pid":
                self.pid = int(rest)
            elif kind == "error":
                await self._abandon()
                raise StartError(rest)
        if not self.pid:
            await self._abandon()
            raise StartError("the launcher ended without a word")
        streams = ((b"stdout", self._outer.stdout), (b"stderr", self._outer.stderr))
        self._pumps = [asyncio.create_task(self._pump(name, pipe)) for name, pipe in streams if pipe]

    @property
    def _pid_file(self) -> Path:
        return self._pid_dir / str(self._outer.pid if self._outer else 0)

    async def _abandon(self) -> None:
        assert self._outer is not None  # noqa: S101
        with contextlib.suppress(ProcessLookupError):
            self._outer.kill()
        await self._outer.communicate()
        self.discard()

    async def _pump(self, name: bytes, pipe: asyncio.StreamReader) -> None:
        while data := await pipe.read(256 * 1024):
            self.log.feed(name, data)

    async def wait(self) -> Exit:
        """Until the container has ended and its output is read."""
        assert self._outer is not None  # noqa: S101
        code = await self._outer.wait()
        finished_at = time.time()
        self._signal(signal.SIGKILL)  # Children that outlived the first process belong to the container.
        _, late = await asyncio.wait(self._pumps, timeout=DRAIN_SECONDS)
        for pump in late:
            pump.cancel()
        await asyncio.gather(*self._pumps, return_exceptions=True)
        oom_killed = self.oom_marked or bool(self._memory and self._memory.oom_kills())
        self.discard()
        return Exit(128 - code if code < 0 else code, oom_killed and code != 0, finished_at)

    async def execute(self, argv: list[str], seconds: float) -> int:
        """Run a command inside the container (hooks, probes); its exit code, 137 after the time is up."""
        spec = dataclasses.replace(self._spec, argv=argv)
        command = self._sandbox.command(spec, 0, self.pid) if self._sandbox.isolated else argv
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
            env=None if self._sandbox.isolated else spec.env,
        )
        try:
            return await asyncio.wait_for(process.wait(), seconds)
        except TimeoutError:
            return 137
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()

    def discard(self) -> None:
        """Let go of everything this run holds."""
        self.log.close()
        self._pid_file.unlink(missing_ok=True)
        if self._memory:
            self._memory.remove()
        # Closes the pipes' transports; without it they wait for the garbage collector.
        if self._outer and (transport := getattr(self._outer, "_transport", None)):
            transport.close()

    def _signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if self._sandbox.isolated:
                os.kill(self.pid, number)
            else:
                os.killpg(self.pid, number)

    def terminate(self) -> None:
        """SIGTERM to the container's first process (mapped mode: to its process group)."""
        if self.running:
            self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL to everything in the container."""
        if self.running:
            self._signal(signal.SIGKILL)

    @property
    def paused(self) -> bool:
        """Whether `pid` is a pause with the command as its child."""
        return self._sandbox.isolated and self._spec.shared_processes

    @property
    def running(self) -> bool:
        """Whether the process has started and not ended."""
        return bool(self.pid) and self._outer is not None and self._outer.returncode is None


async def _read_pipe(descriptor: int) -> bytes:
    """Everything until end of file, through the event loop."""
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    transport, _ = await loop.connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(descriptor, "rb", buffering=0)
    )
    try:
        return await reader.read()
    finally:
        transport.close()


def _start_time(pid: int) -> str:
    """When a process began: with the pid, a name that is never given twice."""
    try:
        return str(psutil.Process(pid).create_time())
    except psutil.Error:
        return ""


def sweep(pid_dir: Path) -> None:
    """Kill what a devcluster that was itself killed left behind. A pid given to someone else since is let
    be.
    """
    pid_dir.mkdir(parents=True, exist_ok=True)
    for file in pid_dir.iterdir():
        with contextlib.suppress(ValueError, ProcessLookupError, PermissionError):
            if file.read_text() == _start_time(int(file.name)):
                os.killpg(int(file.name), signal.SIGKILL)
        file.unlink(missing_ok=True)
