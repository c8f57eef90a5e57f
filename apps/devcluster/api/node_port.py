"""What the API server asks of the node; whoever runs the processes implements it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any, Protocol


class LogUnavailable(Exception):
    """The node has no such log; the message is what a kubelet would answer."""


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

    def pod_usage(self) -> list[dict[str, Any]]:
        """metrics.k8s.io PodMetrics items."""
        ...

    def node_usage(self) -> list[dict[str, Any]]:
        """metrics.k8s.io NodeMetrics items."""
        ...
