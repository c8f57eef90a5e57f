"""What a pod says of its containers' logs."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from apps.clusters import labels
from apps.clusters.gateway import Manifest

from .services import ContainerRun

INDEX = "batch.kubernetes.io/job-completion-index"


@dataclass(frozen=True)
class ContainerState:
    name: str
    restart: int
    is_dead: bool
    has_failed: bool
    has_previous: bool


def container_states(pod: Manifest) -> Iterator[ContainerState]:
    """The containers of a pod that have, or had, a log: init containers first.

    A container that waits to be restarted still counts as its last instance, which is what the node serves then.
    """
    status = pod.get("status") or {}
    for statuses in ("initContainerStatuses", "containerStatuses", "ephemeralContainerStatuses"):
        for each in status.get(statuses) or ():
            state, last = each.get("state") or {}, each.get("lastState") or {}
            is_running, was_terminated = state.get("running") is not None, last.get("terminated") is not None
            if is_running or was_terminated or state.get("terminated") is not None:
                ended = state.get("terminated") or {}
                yield ContainerState(
                    name=each["name"],
                    restart=int(each.get("restartCount") or 0),
                    is_dead=not is_running,
                    has_failed=bool(ended.get("exitCode")),
                    has_previous=was_terminated and state.get("waiting") is None,
                )


def run_of(pod: Manifest, container: str, restart: int) -> ContainerRun:
    meta = pod["metadata"]
    held, noted = meta.get("labels") or {}, meta.get("annotations") or {}
    return ContainerRun(
        namespace=meta["namespace"],
        pod_name=meta["name"],
        pod_uid=meta["uid"],
        container=container,
        restart=restart,
        attempt=_whole(held.get(labels.ATTEMPT)) or 1,
        rank=_whole(noted.get(INDEX, held.get(INDEX))),
        node=(pod.get("spec") or {}).get("nodeName") or "",
    )


def _whole(text: Any) -> int | None:
    return int(text) if isinstance(text, str) and text.isascii() and text.isdigit() and len(text) < 6 else None
