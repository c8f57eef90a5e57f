"""One launched command: its pipes or its terminal, its pid as the host counts, its end."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import signal
import struct
import sys
import termios
from collections.abc import Awaitable, Callable
from pathlib import Path

import psutil

from apps.devcluster.kubelet.sandbox import ContainerSpec, Sandbox

READ_BYTES = 256 * 1024
# What output a finished command left in its pipes is read at most this long (a stray child may hold them open).
DRAIN_SECONDS = 2.0
Sink = Callable[[bytes, bytes], Awaitable[None]]


class StartError(Exception):
    """The command could not be started; the text is the runtime's."""


class Process:
    """A first process of a container, or with `enter` one more inside the container of that pid."""

    def __init__(self, sandbox: Sandbox, pid_dir: Path, enter: int = 0) -> None:
        self._sandbox, self._pid_dir, self._enter = sandbox, pid_dir, enter
        self._outer: asyncio.subprocess.Process | None = None
        self._outputs: list[tuple[bytes, asyncio.StreamReader]] = []
        self._input: asyncio.WriteTransport | None = None
        self._terminal: int | None = None
        self._transports: list[asyncio.BaseTransport] = []
        self._pid_file: Path | None = None
        self.pid = 0

    async def start(self, spec: ContainerSpec) -> None:
        """Launch; `StartError` where the command cannot be executed."""
        reader, writer = os.pipe()
        ours, theirs = os.openpty() if spec.tty else (-1, asyncio.subprocess.PIPE)
        nothing = asyncio.subprocess.PIPE if spec.stdin else asyncio.subprocess.DEVNULL
        try:
            self._outer = await asyncio.create_subprocess_exec(
                *self._sandbox.command(spec, writer, self._enter),
                stdin=theirs if spec.tty else nothing,
                stdout=theirs,
                stderr=theirs,
                pass_fds=(writer,),
                limit=READ_BYTES,
            )
        except BaseException:
            os.close(reader)
            if spec.tty:
                os.close(ours)
            raise
        finally:
            os.close(writer)
            if spec.tty:
                os.close(theirs)
        self._pid_file = self._pid_dir / str(self._outer.pid)
        self._pid_file.write_text(_start_time(self._outer.pid))
        await (self._take_terminal(ours) if spec.tty else self._take_pipes(self._outer))
        await self._hear(reader)

    async def _take_pipes(self, outer: asyncio.subprocess.Process) -> None:
        assert outer.stdout  # noqa: S101
        assert outer.stderr  # noqa: S101
        self._outputs = [(b"stdout", outer.stdout), (b"stderr", outer.stderr)]
        self._input = outer.stdin.transport if outer.stdin else None

    async def _take_terminal(self, descriptor: int) -> None:
        self._terminal = descriptor
        self._outputs = [(b"stdout", await self._reader(os.dup(descriptor)))]
        pipe = os.fdopen(os.dup(descriptor), "wb", buffering=0)
        self._input, _ = await asyncio.get_running_loop().connect_write_pipe(asyncio.BaseProtocol, pipe)
        self._transports.append(self._input)

    async def _reader(self, descriptor: int) -> asyncio.StreamReader:
        reader = asyncio.StreamReader(limit=READ_BYTES)
        pipe = os.fdopen(descriptor, "rb", buffering=0)
        loop = asyncio.get_running_loop()
        transport, _ = await loop.connect_read_pipe(lambda: _ToTheEnd(reader), pipe)
        self._transports.append(transport)
        return reader

    async def _hear(self, descriptor: int) -> None:
        """What the launcher says, until it has become the command."""
        lines = (await (await self._reader(descriptor)).read()).decode(errors="replace").splitlines()
        said = dict(line.partition(" ")[::2] for line in lines)
        self.pid = int(said.get("pid", 0))
        if "error" in said or not self.pid:
            await self.discard()
            raise StartError(said.get("error", "the launcher ended without a word"))

    # -- its streams

    async def pump(self, sink: Sink) -> int:
        """Give all output to `sink`; the exit code once the command has ended and everything is read."""
        assert self._outer  # noqa: S101
        sending = 0

        async def copy(name: bytes, reader: asyncio.StreamReader) -> None:
            nonlocal sending
            while data := await reader.read(READ_BYTES):
                sending += 1
                await sink(name, data)
                sending -= 1

        pumps = [asyncio.create_task(copy(name, reader)) for name, reader in self._outputs]
        try:
            code = await self._outer.wait()
            if not self._enter:
                self.kill()  # Children that outlived the first process belong to the container.
            late = set(pumps)
            while late:
                _, late = await asyncio.wait(late, timeout=DRAIN_SECONDS)
                if not sending:  # Whoever takes the output slowly is waited for, a silent stray child is not.
                    break
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
        return 128 - code if code < 0 else code

    def write(self, data: bytes) -> None:
        """Feed its standard input."""
        if self._input and not self._input.is_closing():
            self._input.write(data)

    def close_input(self) -> None:
        """End its standard input; a terminal has no end."""
        if self._input and self._terminal is None:
            self._input.write_eof()

    @property
    def input_backlog(self) -> int:
        """How much of its input waits to be read."""
        return self._input.get_write_buffer_size() if self._input else 0

    def resize(self, columns: int, rows: int) -> None:
        """Tell the terminal its size."""
        if self._terminal is not None:
            fcntl.ioctl(self._terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    # -- its end

    @property
    def running(self) -> bool:
        """Whether the process has started and not ended."""
        return bool(self.pid) and self._outer is not None and self._outer.returncode is None

    def signal(self, number: int) -> None:
        """To a container's first process, whose death ends the rest; elsewhere to the whole group."""
        first = self._sandbox.isolated and not self._enter
        with contextlib.suppress(ProcessLookupError, PermissionError):
            (os.kill if first else os.killpg)(self.pid, number)

    def kill(self) -> None:
        """SIGKILL to it and all that it started."""
        if not self.pid:
            return
        tree = descendants(self.pid) if self._enter or not self._sandbox.isolated else []
        self.signal(signal.SIGKILL)
        for pid in tree[1:]:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)

    async def discard(self) -> None:
        """End it if it still runs and let go of everything it holds."""
        if self._outer:
            if self._outer.returncode is None:
                self.kill()
                with contextlib.suppress(ProcessLookupError):
                    self._outer.kill()
                await self._outer.wait()
            # Closes the pipes' transports; without it they wait for the garbage collector.
            if transport := getattr(self._outer, "_transport", None):
                transport.close()
        for transport in self._transports:
            transport.close()
        if self._terminal is not None:
            os.close(self._terminal)
            self._terminal = None
        if self._pid_file:
            self._pid_file.unlink(missing_ok=True)


class _ToTheEnd(asyncio.StreamReaderProtocol):
    """A terminal ends with an error, which would hide what was read before it: here it is a plain end."""

    def connection_lost(self, exc: Exception | None) -> None:
        """The end of the stream, whatever its reason."""
        super().connection_lost(None)


def descendants(pid: int) -> list[int]:
    """The tree with `pid` first; on Linux from /proc's lists of children, which cost no walk over all processes."""
    if sys.platform != "linux":
        with contextlib.suppress(psutil.Error):
            return [pid, *(child.pid for child in psutil.Process(pid).children(recursive=True))]
        return [pid]
    found, todo = [], [pid]
    while todo:
        current = todo.pop()
        found.append(current)
        with contextlib.suppress(OSError):
            for task in Path(f"/proc/{current}/task").iterdir():
                todo += map(int, (task / "children").read_text().split())
    return found


def _start_time(pid: int) -> str:
    """When a process began: with the pid, a name that is never given twice."""
    try:
        return str(psutil.Process(pid).create_time())
    except psutil.Error:
        return ""


def sweep(pid_dir: Path) -> None:
    """Kill what a devcluster that was itself killed left behind. A pid given to someone else since is let be."""
    pid_dir.mkdir(parents=True, exist_ok=True)
    for file in pid_dir.iterdir():
        with contextlib.suppress(ValueError, ProcessLookupError, PermissionError):
            if file.read_text() == _start_time(int(file.name)):
                os.killpg(int(file.name), signal.SIGKILL)
        file.unlink(missing_ok=True)
