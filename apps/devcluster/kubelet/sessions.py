"""What exec and attach hand to the API server."""

from __future__ import annotations

from apps.devcluster.kubelet.container import ContainerRun
from apps.devcluster.kubelet.process import Process, Sink


class ExecSession:
    """A command inside a container; it goes when the session closes."""

    def __init__(self, run: ContainerRun, process: Process) -> None:
        self._run, self._process = run, process
        self.pump, self.write, self.close_input = process.pump, process.write, process.close_input
        self.resize = process.resize

    @property
    def input_backlog(self) -> int:
        """Bytes of input that wait to be read."""
        return self._process.input_backlog

    async def close(self) -> None:
        """Kill the command if it still runs."""
        await self._run.leave(self._process)


class AttachSession:
    """A container's own streams; it goes on when the session closes."""

    def __init__(self, run: ContainerRun, *, stdin: bool) -> None:
        self._run, self._feeds = run, stdin and run.spec.stdin

    async def pump(self, sink: Sink) -> int:
        """What the container writes from now on; attaching itself succeeds whatever the container's exit code."""
        await self._run.view(sink)
        return 0

    def write(self, data: bytes) -> None:
        """To the container's standard input, where it has one (`stdin: true`)."""
        if self._feeds:
            self._run.process.write(data)

    def close_input(self) -> None:
        """The container's input ends with its first session where `stdinOnce` says so."""
        if self._feeds and self._run.spec.stdin_once:
            self._run.process.close_input()

    @property
    def input_backlog(self) -> int:
        """Bytes of input that wait to be read."""
        return self._run.process.input_backlog

    def resize(self, columns: int, rows: int) -> None:
        """The size of the container's terminal, where it has one."""
        self._run.process.resize(columns, rows)

    async def close(self) -> None:
        """`stdinOnce`: input ends with its one session."""
        self.close_input()
