"""What Cube asks of a Kubernetes API server, in plain data.

Objects are dicts as the API serves them. Every call may raise `Unavailable`; the other errors say what the server said.
"""

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, Protocol

from apps.core.errors import DomainError

Manifest = dict[str, Any]
Propagation = Literal["Background", "Foreground"]


class GatewayError(DomainError):
    """The cluster did not do what was asked. `status` and `reason` are the API server's own."""

    code = "cluster_refused"

    def __init__(
        self, message: str, *, status: int = 0, reason: str = "", causes: tuple[tuple[str, str], ...] = ()
    ) -> None:
        super().__init__(message)
        self.status, self.reason, self.causes = status, reason, causes  # causes: (field path, message)


class NotFound(GatewayError):
    code = "not_found"


class AlreadyExists(GatewayError):
    code = "already_exists"


class Conflict(GatewayError):
    """Somebody changed the object meanwhile."""

    code = "conflict"


class Invalid(GatewayError):
    """The manifest was refused (400, 422): sending it again will not help."""

    code = "invalid_manifest"


class Forbidden(GatewayError):
    """401 or 403: credentials, RBAC, quota or admission said no."""

    code = "forbidden"


class VersionExpired(GatewayError):
    """410: the resourceVersion is too old to watch from; list again."""

    code = "version_expired"


class Unavailable(GatewayError):
    """The API server could not be reached or answered 429/5xx; retrying later is reasonable."""

    code = "cluster_unavailable"


@dataclass(frozen=True)
class ObjectRef:
    api_version: str
    kind: str
    name: str
    namespace: str = ""  # empty: cluster-scoped

    @classmethod
    def of(cls, manifest: Mapping[str, Any]) -> "ObjectRef":
        meta = manifest["metadata"]
        return cls(manifest["apiVersion"], manifest["kind"], meta["name"], meta.get("namespace", ""))


@dataclass(frozen=True)
class ObjectList:
    items: list[Manifest]
    resource_version: str


@dataclass(frozen=True)
class WatchEvent:
    """`object` of a BOOKMARK carries only a newer resourceVersion."""

    type: Literal["ADDED", "MODIFIED", "DELETED", "BOOKMARK"]
    object: Manifest


@dataclass(frozen=True)
class ServerInfo:
    version: str  # "v1.36.2"
    group_versions: tuple[str, ...] = field(default=())  # ("v1", "batch/v1", …), sorted


@dataclass(frozen=True)
class PodUsage:
    """What a pod's containers used together, as the cluster's metrics API measured it."""

    namespace: str
    name: str
    labels: Mapping[str, str]
    at: datetime  # the end of the window, by the cluster's clock
    cpu_millicores: int  # mean over the window
    memory_bytes: int  # the working set at its end


class Gateway(Protocol):
    """The synchronous face: web, workers, the watcher."""

    def server_info(self) -> ServerInfo:
        """Version and what is served. Needs no more rights than any signed-in account has."""

    def create(self, manifest: Manifest, *, dry_run: bool = False) -> Manifest:
        """POST; returns the object as stored, or with `dry_run` as it would be.

        Raises AlreadyExists, Invalid, Forbidden, NotFound (no such namespace or kind).
        """

    def apply(self, manifest: Manifest) -> Manifest:
        """Server-side apply as field manager "cube", forced: create or make the named fields so. Idempotent.

        Fields applied before and not named any more are removed; fields of other managers stay. Raises as `create`,
        but never AlreadyExists.
        """

    def get(self, ref: ObjectRef) -> Manifest:
        """Raises NotFound, Forbidden."""

    def list(
        self,
        api_version: str,
        kind: str,
        *,
        namespace: str = "",
        labels: Mapping[str, str] | None = None,
        field_selector: str = "",
    ) -> ObjectList:
        """All matching objects (paged inside); empty namespace: all namespaces."""

    def delete(
        self, ref: ObjectRef, *, propagation: Propagation = "Background", grace_seconds: int | None = None
    ) -> None:
        """Delete the object and what it owns. Deleting what is already gone is fine: no NotFound.

        "Background": the object goes at once, its dependents soon after. "Foreground": the object stays, marked with
        a deletionTimestamp, until its dependents have gone. `grace_seconds` None: as the object itself says.
        """

    def pod_usage(self, *, labels: Mapping[str, str]) -> Sequence[PodUsage]:
        """What matching pods of all namespaces use: those that run and have been measured over a whole window.

        Raises NotFound where the cluster has no metrics API (no metrics-server), Forbidden, and Unavailable also while
        only the metrics API is away.
        """

    def read_log(self, *, namespace: str, pod: str, container: str, limit_bytes: int) -> bytes:
        """The log of a container as it is now, from its beginning, without timestamps. Following: `Streams.follow_log`.

        Raises NotFound (no such pod) and Invalid (no such container, or not started yet).
        """

    def watch(
        self,
        api_version: str,
        kind: str,
        *,
        resource_version: str,
        namespace: str = "",
        labels: Mapping[str, str] | None = None,
        timeout_seconds: int = 300,
    ) -> Iterator[WatchEvent]:
        """Changes after `resource_version`, with bookmarks, until the server closes, after `timeout_seconds` at most.

        Raises VersionExpired on 410 (list again) and Unavailable when the connection breaks (resume from the version
        of the last event). An object that stops matching `labels` comes as DELETED.
        """


class Execution(Protocol):
    """A program with a terminal in a running container.

    Neither direction is stored: who stops reading slows the program, and a program that does not read makes `write`
    wait.
    """

    exit_code: int | None  # once `output` has ended

    def output(self) -> AsyncIterator[bytes]:
        """What it writes, until it ends. Once only.

        Raises Invalid when the program could not be started, and Unavailable when the connection breaks.
        """

    async def write(self, data: bytes) -> None:
        """What is typed, as bytes of the terminal. Raises Unavailable."""

    async def resize(self, *, columns: int, rows: int) -> None:
        """The size of the terminal, in characters. Raises Unavailable."""


class Streams(Protocol):
    """The asynchronous face: one log follow per container, cheap to hold by the hundred."""

    async def close(self) -> None: ...

    def pod_events(self, *, labels: Mapping[str, str]) -> AsyncIterator[WatchEvent]:
        """Every matching pod as ADDED, then changes, for ever: lists again on 410, backs off when unreachable.

        After a second list pods come as ADDED again; those that went meanwhile come as DELETED with nothing but
        their metadata. Raises Forbidden: only a new kubeconfig can help then.
        """

    def follow_log(
        self,
        *,
        namespace: str,
        pod: str,
        container: str,
        since_time: str = "",
        previous: bool = False,
        follow: bool = True,
        tail_lines: int | None = None,
    ) -> AsyncIterator[bytes]:
        """Raw chunks of the log with timestamps. Ends when the server ends it, which does not mean the container has.

        `since_time` is RFC 3339; the API server cuts it to whole seconds. A pod without a node has an empty log.
        Raises NotFound, Invalid (container not started yet, or unknown), Forbidden, Unavailable (also when the
        connection breaks on the way).
        """

    def exec(
        self, *, namespace: str, pod: str, container: str, command: Sequence[str]
    ) -> AbstractAsyncContextManager[Execution]:
        """Start a program with a terminal in a container. Leaving the context ends the connection; whether the program
        ends with it is the cluster's to decide.

        Raises NotFound, Invalid (no such container, or the pod has no node yet), Forbidden, Unavailable.
        """
