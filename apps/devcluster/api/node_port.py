"""What the API server asks of the node; whoever runs the processes implements it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import datetime
from typing import Any, Protocol


class LogUnavailable(Exception):
    """The node has no such log; the message is what a kubelet would answer."""


class NodeRefusal(Exception):
    """The node will not open such a stream; the message is what a kubelet would answer."""


class NodeUnreachable(NodeRefusal):
    """Nobody answers at the node's address."""


class CannotStart(Exception):
    """The command cannot be executed in the container; the text is the runtime's."""


class Session(Protocol):
    """A command in a container, or the container itself, with its streams."""

    async def pump(self, sink: Callable[[bytes, bytes], Awaitable[None]]) -> int:
        """Give the output to `sink` as (b"stdout" or b"stderr", data) to its end; the exit code."""
        ...

    def write(self, data: bytes) -> None:
        """Feed its standard input."""
        ...

    def close_input(self) -> None:
        """End its standard input."""
        ...

    @property
    def input_backlog(self) -> int:
        """Bytes of input that wait to be read."""
        ...

    def resize(self, columns: int, rows: int) -> None:
        """The client's terminal has this size."""
        ...

    async def close(self) -> None:
        """Let go; a command that still runs is killed."""
        ...


class NodePort(Protocol):
    """What the API server asks of the node: it proxies logs, exec and measurements as a real one does."""

    def read_log(
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
        """The bytes of a container's log; raises LogUnavailable before the first of them."""
        ...

    async def open_exec(
        self, *, pod: dict[str, Any], container: str, command: list[str], stdin: bool, tty: bool
    ) -> Session:
        """Start a command in a running container; raises NodeRefusal or CannotStart."""
        ...

    async def open_attach(self, *, pod: dict[str, Any], container: str, stdin: bool) -> Session:
        """A running container's own streams; raises NodeRefusal."""
        ...

    def pod_usage(self) -> list[dict[str, Any]]:
        """metrics.k8s.io PodMetrics items."""
        ...

    def node_usage(self) -> list[dict[str, Any]]:
        """metrics.k8s.io NodeMetrics items."""
        ...

    def summary(self, node: str) -> dict[str, Any]:
        """The kubelet's /stats/summary."""
        ...
