"""An API server kept in a dict, for tests: small, and honest about what a real one would answer.

Both faces made from one kubeconfig text see the same server; `forget_all()` starts afresh.
"""

import asyncio
import base64
import copy
import re
import threading
import time
import uuid
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from .base import (
    AlreadyExists,
    Execution,
    Invalid,
    Manifest,
    NotFound,
    ObjectList,
    ObjectRef,
    PodUsage,
    Propagation,
    ServerInfo,
    VersionExpired,
    WatchEvent,
)
from .fake_terminal import FakeExecution
from .usage import read_usage

NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
CLUSTER_SCOPED = frozenset({"Namespace", "Node", "StorageClass", "PriorityClass", "ClusterRole", "ClusterRoleBinding"})
KINDS: dict[str, frozenset[str]] = {
    "v1": frozenset(
        {"Namespace", "Node", "Pod", "Service", "ServiceAccount", "Secret", "ConfigMap", "Event"}
        | {"PersistentVolumeClaim", "LimitRange", "ResourceQuota"}
    ),
    "batch/v1": frozenset({"Job", "CronJob"}),
    "apps/v1": frozenset({"Deployment", "StatefulSet", "DaemonSet"}),
    "networking.k8s.io/v1": frozenset({"NetworkPolicy", "Ingress"}),
    "rbac.authorization.k8s.io/v1": frozenset({"Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding"}),
    "storage.k8s.io/v1": frozenset({"StorageClass"}),
    "scheduling.k8s.io/v1": frozenset({"PriorityClass"}),
}
SERVER_WRITTEN = ("uid", "resourceVersion", "creationTimestamp", "generation", "managedFields")
PATIENCE_SECONDS = 0.05  # how long a watch waits for news before the server ends it
POLL_SECONDS = 0.01


@dataclass
class Log:
    """One container's log. `open` until it ends; `previous` is that of the instance before a restart."""

    lines: list[bytes] = field(default_factory=list)
    previous: list[bytes] | None = None
    open: bool = True


class FakeServer:
    """The state behind the two faces."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.objects: dict[ObjectRef, Manifest] = {}
        self.applied: dict[ObjectRef, Manifest] = {}
        self.history: list[tuple[int, Manifest | None, Manifest | None]] = []  # version, before, after
        self.version = 0
        self.oldest = 0  # watches from before it answer 410
        self.logs: dict[tuple[str, str, str], Log] = {}
        self.usage: dict[tuple[str, str], Manifest] | None = None  # PodMetrics; None: there is no metrics API
        self.executions: list[FakeExecution] = []
        self.failures: list[Exception] = []
        self.down: Exception | None = None
        self.cuts = 0
        self.info = ServerInfo("v1.36.2", tuple(sorted(KINDS)))
        for name in ("default", "kube-system"):
            self.write({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})

    def enter(self) -> None:
        """What every request passes first: the errors a test injected."""
        if self.failures:
            raise self.failures.pop(0)
        if self.down is not None:
            raise self.down

    def write(self, manifest: Manifest) -> Manifest:
        """Store a new or changed object. Storing what is there already changes nothing, not even its version."""
        with self.lock:
            ref = ObjectRef.of(manifest)
            old = self.objects.get(ref)
            stored = self._completed(manifest, old)
            if old == stored:
                return copy.deepcopy(stored)
            self.version += 1
            stored["metadata"]["resourceVersion"] = str(self.version)
            self.objects[ref] = stored
            self.history.append((self.version, old, copy.deepcopy(stored)))
            if old is None and ref.kind == "Namespace":
                meta = {"name": "default", "namespace": ref.name}
                self.write({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": meta})
            return copy.deepcopy(stored)

    def remove(self, ref: ObjectRef) -> None:
        with self.lock:
            gone = self.objects.pop(ref, None)
            if gone is None:
                return
            self.applied.pop(ref, None)
            self.version += 1
            gone = copy.deepcopy(gone)
            gone["metadata"]["resourceVersion"] = str(self.version)
            self.history.append((self.version, gone, None))
            for dependent in self._dependents(gone):
                self.remove(dependent)

    def completed(self, manifest: Manifest) -> Manifest:
        """`manifest` as the server would store it, were it new."""
        return self._completed(manifest, None)

    def find(self, ref: ObjectRef) -> Manifest:
        check_kind(ref.api_version, ref.kind)
        try:
            return self.objects[ref]
        except KeyError:
            message = f'{ref.kind.lower()}s "{ref.name}" not found'
            raise NotFound(message, status=404, reason="NotFound") from None

    def check_place(self, manifest: Manifest) -> None:
        """The namespace must exist and stay; the name must be one."""
        meta = manifest["metadata"]
        check_kind(manifest["apiVersion"], manifest["kind"])
        if not NAME.fullmatch(str(meta.get("name", ""))):
            why = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.'"
            causes = (("metadata.name", f"Invalid value: {meta.get('name', '')!r}: {why}"),)
            message = f'{manifest["kind"]} "{meta.get("name", "")}" is invalid: metadata.name: {why}'
            raise Invalid(message, status=422, reason="Invalid", causes=causes)
        if manifest["kind"] not in CLUSTER_SCOPED:
            self.find(ObjectRef("v1", "Namespace", meta.get("namespace", "")))

    def _completed(self, manifest: Manifest, old: Manifest | None) -> Manifest:
        stored = copy.deepcopy(manifest)
        meta = stored["metadata"]
        meta["uid"] = old["metadata"]["uid"] if old else str(uuid.uuid4())
        meta["resourceVersion"] = old["metadata"]["resourceVersion"] if old else ""
        created = old["metadata"]["creationTimestamp"] if old else datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        meta["creationTimestamp"] = created
        if stored["kind"] == "Secret" and "stringData" in stored:
            given = {k: base64.b64encode(v.encode()).decode() for k, v in stored.pop("stringData").items()}
            stored["data"] = {**stored.get("data", {}), **given}
        phases = {"Namespace": "Active", "Pod": "Pending", "PersistentVolumeClaim": "Pending"}
        if stored["kind"] in phases and "status" not in stored:
            stored["status"] = {"phase": phases[stored["kind"]]}
        return stored

    def _dependents(self, gone: Manifest) -> list[ObjectRef]:
        inside = gone["metadata"]["name"] if gone["kind"] == "Namespace" else None
        uid = gone["metadata"]["uid"]
        return [
            ref
            for ref, held in self.objects.items()
            if ref.namespace == inside or any(o["uid"] == uid for o in held["metadata"].get("ownerReferences", ()))
        ]


_servers: dict[str, FakeServer] = {}


def server_of(kubeconfig: str) -> FakeServer:
    return _servers.setdefault(kubeconfig, FakeServer())


def forget_all() -> None:
    """A new world for the next test. Gateways made before keep talking to the old one."""
    _servers.clear()


class FakeGateway:
    """The synchronous face, and the verbs of a test: what the cluster would do by itself."""

    def __init__(self, kubeconfig: str = "") -> None:
        self.server = server_of(kubeconfig)

    # -- a test's own verbs ------------------------------------------------------------------------------------------
    @property
    def objects(self) -> dict[ObjectRef, Manifest]:
        """Everything stored, without the namespaces and service accounts every cluster has."""
        born = {"default", "kube-system"}
        return {
            ref: held
            for ref, held in self.server.objects.items()
            if not (ref.kind == "Namespace" and ref.name in born)
            and not (ref.kind == "ServiceAccount" and ref.name == "default")
        }

    def set_status(self, ref: ObjectRef, status: Mapping[str, Any]) -> Manifest:
        """What a controller or kubelet does: replace the status, tell the watchers."""
        changed = {**copy.deepcopy(self.server.find(ref)), "status": copy.deepcopy(dict(status))}
        return self.server.write(changed)

    def add(self, manifest: Manifest) -> Manifest:
        """Store an object as it is, status included: nodes, storage classes, pods of a controller."""
        return self.server.write(manifest)

    def remove(self, ref: ObjectRef) -> None:
        """What somebody else's `kubectl delete` does."""
        self.server.remove(ref)

    def fail_next(self, error: Exception, *, times: int = 1) -> None:
        """The next `times` requests of either face raise `error`."""
        self.server.failures += [error] * times

    def go_down(self, error: Exception) -> None:
        """Every request raises `error` until `come_back`."""
        self.server.down = error

    def come_back(self) -> None:
        self.server.down = None

    def forget_history(self) -> None:
        """Watching from any version given out so far answers 410."""
        self.server.version += 1
        self.server.oldest = self.server.version

    def measure(self, pod: Manifest, *, cpu: str, memory: str, at: str = "") -> None:
        """What a metrics server does with a running pod. `at` (RFC 3339) is the window's end; empty: now.

        The first measurement of all also brings the metrics API.
        """
        meta = {key: pod["metadata"].get(key) for key in ("name", "namespace", "labels")}
        self.server.usage = self.server.usage or {}
        self.server.usage[meta["namespace"], meta["name"]] = {
            "metadata": meta,
            "timestamp": at or datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "window": "15s",
            "containers": [{"name": "main", "usage": {"cpu": cpu, "memory": memory}}],
        }

    def write_log(self, namespace: str, pod: str, container: str, text: str, *, at: str = "") -> None:
        """Append lines to a container's log. `at` is their timestamp (RFC 3339, nanoseconds); empty: now."""
        log = self.server.logs.setdefault((namespace, pod, container), Log())
        for line in text.splitlines():
            log.lines.append(f"{at or now_in_nanoseconds()} {line}\n".encode())

    def end_log(self, namespace: str, pod: str, container: str) -> None:
        """The container ended: follows end when they have read everything."""
        self.server.logs.setdefault((namespace, pod, container), Log()).open = False

    def restart_log(self, namespace: str, pod: str, container: str) -> None:
        """The container started again: its log so far can be had as `previous`."""
        log = self.server.logs.setdefault((namespace, pod, container), Log())
        log.previous, log.lines, log.open = log.lines, [], True

    def cut_follows(self) -> None:
        """Every open follow ends though its container runs on, as after the kubelet's four hours."""
        self.server.cuts += 1

    # -- Gateway -----------------------------------------------------------------------------------------------------
    def server_info(self) -> ServerInfo:
        self.server.enter()
        return self.server.info

    def create(self, manifest: Manifest, *, dry_run: bool = False) -> Manifest:
        self.server.enter()
        new = copy.deepcopy(manifest)
        for key in SERVER_WRITTEN:
            new["metadata"].pop(key, None)
        if new["kind"] in {"Pod", "Job", "Namespace"}:
            new.pop("status", None)  # written through its own subresource only
        if "name" not in new["metadata"] and (prefix := new["metadata"].get("generateName")):
            new["metadata"]["name"] = prefix + uuid.uuid4().hex[:5]
        with self.server.lock:
            self.server.check_place(new)
            ref = ObjectRef.of(new)
            if ref in self.server.objects:
                message = f'{ref.kind.lower()}s "{ref.name}" already exists'
                raise AlreadyExists(message, status=409, reason="AlreadyExists")
            return self.server.completed(new) if dry_run else self.server.write(new)

    def apply(self, manifest: Manifest) -> Manifest:
        self.server.enter()
        with self.server.lock:
            self.server.check_place(manifest)
            ref = ObjectRef.of(manifest)
            named = copy.deepcopy(manifest)
            base = copy.deepcopy(self.server.objects.get(ref, {}))
            merged = _merge(_without(base, self.server.applied.get(ref, {}), named), named)
            self.server.applied[ref] = named
            return self.server.write(merged)

    def get(self, ref: ObjectRef) -> Manifest:
        self.server.enter()
        return copy.deepcopy(self.server.find(ref))

    def list(
        self,
        api_version: str,
        kind: str,
        *,
        namespace: str = "",
        labels: Mapping[str, str] | None = None,
        field_selector: str = "",
    ) -> ObjectList:
        self.server.enter()
        check_kind(api_version, kind)
        with self.server.lock:
            found = [
                copy.deepcopy(held)
                for ref, held in sorted(self.server.objects.items(), key=lambda pair: (pair[0].namespace, pair[0].name))
                if (ref.api_version, ref.kind) == (api_version, kind)
                and _selected(held, namespace, labels)
                and _fields_match(held, field_selector)
            ]
            return ObjectList(found, str(self.server.version))

    def delete(
        self, ref: ObjectRef, *, grace_seconds: int | None = None, propagation: Propagation = "Background"
    ) -> None:
        self.server.enter()
        check_kind(ref.api_version, ref.kind)
        self.server.remove(ref)

    def pod_usage(self, *, labels: Mapping[str, str]) -> Sequence[PodUsage]:
        self.server.enter()
        if self.server.usage is None:
            raise NotFound("the server could not find the requested resource", status=404, reason="NotFound")
        return tuple(read_usage(one for one in self.server.usage.values() if _selected(one, "", labels)))

    def read_log(self, *, namespace: str, pod: str, container: str, limit_bytes: int) -> bytes:
        self.server.enter()
        log = log_of(self.server, self.server.find(ObjectRef("v1", "Pod", pod, namespace)), container)
        return b"".join(line.split(b" ", 1)[1] for line in log.lines)[:limit_bytes]

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
        self.server.enter()
        check_kind(api_version, kind)
        seen = int(resource_version or 0)
        deadline = time.monotonic() + min(timeout_seconds, PATIENCE_SECONDS)
        while True:
            seen, events = changes(self.server, api_version, kind, seen, namespace, labels)
            yield from events
            if time.monotonic() > deadline:
                break
            time.sleep(POLL_SECONDS)
        yield WatchEvent(
            "BOOKMARK", {"apiVersion": api_version, "kind": kind, "metadata": {"resourceVersion": str(seen)}}
        )


class FakeStreams:
    """The asynchronous face of the same server."""

    def __init__(self, kubeconfig: str = "") -> None:
        self.server = server_of(kubeconfig)
        self.closed = False

    async def close(self) -> None:
        self.closed = True

    async def pod_events(self, *, labels: Mapping[str, str]) -> AsyncIterator[WatchEvent]:
        self.server.enter()
        with self.server.lock:
            pods = [copy.deepcopy(o) for r, o in self.server.objects.items() if r.kind == "Pod"]
            seen = self.server.version
        for pod in pods:
            if _selected(pod, "", labels):
                yield WatchEvent("ADDED", pod)
        while not self.closed:
            seen = max(seen, self.server.oldest)
            seen, events = changes(self.server, "v1", "Pod", seen, "", labels)
            for event in events:
                yield event
            await asyncio.sleep(POLL_SECONDS)

    async def follow_log(
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
        self.server.enter()
        held = self.server.find(ObjectRef("v1", "Pod", pod, namespace))
        log = log_of(self.server, held, container, previous=previous)
        cuts, position = self.server.cuts, 0
        source = (log.previous or []) if previous else log.lines
        since = since_time[:19]  # The API server cuts it to whole seconds.
        while True:
            new = [line for line in source[position:] if line[:19].decode() >= since]
            if tail_lines is not None and not position:
                new = new[max(0, len(new) - tail_lines) :]
            ended = self._ended(held, log)
            position = len(source)
            if new:
                yield b"".join(new)
            elif previous or not follow or ended or self.server.cuts != cuts or source is not log.lines:
                return
            else:
                await asyncio.sleep(POLL_SECONDS)

    @asynccontextmanager
    async def exec(
        self, *, namespace: str, pod: str, container: str, command: Sequence[str]
    ) -> AsyncIterator[Execution]:
        self.server.enter()
        held = self.server.find(ObjectRef("v1", "Pod", pod, namespace))
        if container not in [one["name"] for one in held["spec"].get("containers", ())]:
            message = f"container {container} is not valid for pod {pod}"
            raise Invalid(message, status=400, reason="BadRequest")
        if not held["spec"].get("nodeName"):
            raise Invalid(f"pod {pod} does not have a host assigned", status=400, reason="BadRequest")
        execution = FakeExecution(command)
        self.server.executions.append(execution)
        try:
            yield execution
        finally:
            execution.is_open = False

    def _ended(self, pod: Manifest, log: Log) -> bool:
        now = self.server.objects.get(ObjectRef.of(pod))
        return not log.open or now is None or now.get("status", {}).get("phase") in ("Succeeded", "Failed")


def log_of(server: FakeServer, pod: Manifest, container: str, *, previous: bool = False) -> Log:
    """A container's log, refused as the API server refuses: unknown, not started, never restarted."""
    meta = pod["metadata"]
    spec = pod.get("spec", {})
    names = [c["name"] for c in [*spec.get("containers", ()), *spec.get("initContainers", ())]]
    if container not in names:
        message = f"container {container} is not valid for pod {meta['name']}"
        raise Invalid(message, status=400, reason="BadRequest")
    log = server.logs.get((meta["namespace"], meta["name"], container))
    if log is None and not spec.get("nodeName"):
        return Log(open=False)  # 204: nobody has a log to give yet
    if log is None and pod.get("status", {}).get("phase") in (None, "Pending"):
        message = f'container "{container}" in pod "{meta["name"]}" is waiting to start: ContainerCreating'
        raise Invalid(message, status=400, reason="BadRequest")
    if previous and (log is None or log.previous is None):
        message = f'previous terminated container "{container}" in pod "{meta["name"]}" not found'
        raise Invalid(message, status=400, reason="BadRequest")
    return log or server.logs.setdefault((meta["namespace"], meta["name"], container), Log())


def check_kind(api_version: str, kind: str) -> None:
    if kind not in KINDS.get(api_version, ()):
        raise NotFound("the server could not find the requested resource", status=404, reason="NotFound")


def changes(
    server: FakeServer, api_version: str, kind: str, seen: int, namespace: str, labels: Mapping[str, str] | None
) -> tuple[int, list[WatchEvent]]:
    """What happened after version `seen`, and the version reached."""
    with server.lock:
        if seen < server.oldest:
            raise VersionExpired(f"too old resource version: {seen} ({server.oldest})", status=410, reason="Expired")
        events = []
        for version, before, after in server.history:
            about = after or before
            if version <= seen or about is None or (about["apiVersion"], about["kind"]) != (api_version, kind):
                continue
            was = before is not None and _selected(before, namespace, labels)
            is_now = after is not None and _selected(after, namespace, labels)
            if was or is_now:  # What enters or leaves the selection comes and goes as far as the watcher can see.
                kind_of_event = "MODIFIED" if was and is_now else "ADDED" if is_now else "DELETED"
                events.append(WatchEvent(kind_of_event, copy.deepcopy(about)))  # type: ignore[arg-type]
        return server.version, events


def now_in_nanoseconds() -> str:
    nanoseconds = time.time_ns()
    seconds = datetime.fromtimestamp(nanoseconds // 10**9, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{seconds}.{nanoseconds % 10**9:09d}Z"


def _selected(obj: Manifest, namespace: str, labels: Mapping[str, str] | None) -> bool:
    meta = obj["metadata"]
    held = meta.get("labels") or {}
    return (not namespace or meta.get("namespace") == namespace) and all(
        held.get(key) == value for key, value in (labels or {}).items()
    )


def _fields_match(obj: Manifest, selector: str) -> bool:
    for term in filter(None, selector.split(",")):
        path, unequal, wanted = re.fullmatch(r"([\w.]+?)(!)?==?(.*)", term).groups()  # type: ignore[union-attr]
        value: Any = obj
        for key in path.split("."):
            value = value.get(key, "") if isinstance(value, dict) else ""
        if (str(value) == wanted) == bool(unequal):
            return False
    return True


def _merge(base: Any, named: Any) -> Any:
    if isinstance(base, dict) and isinstance(named, dict):
        return {**base, **{key: _merge(base.get(key), value) for key, value in named.items()}}
    return named


def _without(base: Any, before: Any, named: Any) -> Any:
    """`base` less the fields applied before and not named any more: their only owner let go of them."""
    if not (isinstance(base, dict) and isinstance(before, dict)):
        return base
    kept = {}
    for key, value in base.items():
        if key in before and key not in (named or {}):
            continue
        deeper = key in before and isinstance(named.get(key), dict)
        kept[key] = _without(value, before[key], named[key]) if deeper else value
    return kept
