"""Pods, their containers and the events a watch hears, in memory."""

import asyncio
import itertools
import uuid
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from .files import Run
from .rules import Rules

Manifest = dict[str, Any]
Key = tuple[str, str]  # namespace, name


@dataclass
class Container:
    name: str
    run: Run
    restart: int = 0
    previous: Run | None = None
    exit_code: int | None = None
    is_waiting: bool = False


@dataclass
class Pod:
    namespace: str
    name: str
    node: str
    labels: dict[str, str]
    annotations: dict[str, str]
    containers: dict[str, Container]
    uid: str = field(default_factory=lambda: str(uuid.uuid4()))
    version: int = 0
    made_at: str = field(default_factory=lambda: now())
    leaving_at: str = ""

    @property
    def phase(self) -> str:
        codes = [each.exit_code for each in self.containers.values()]
        if any(code is None for code in codes):
            return "Running"
        return "Failed" if any(codes) else "Succeeded"

    def manifest(self) -> Manifest:
        meta: Manifest = {
            "name": self.name,
            "namespace": self.namespace,
            "uid": self.uid,
            "resourceVersion": str(self.version),
            "creationTimestamp": self.made_at,
            "labels": self.labels,
            "annotations": self.annotations,
        }
        if self.leaving_at:
            meta |= {"deletionTimestamp": self.leaving_at, "deletionGracePeriodSeconds": 30}
        return {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": meta,
            "spec": {
                "nodeName": self.node,
                "restartPolicy": "Always",
                "containers": [{"name": name, "image": "busybox"} for name in self.containers],
            },
            "status": {
                "phase": self.phase,
                "startTime": self.made_at,
                "containerStatuses": [self._status(each) for each in self.containers.values()],
            },
        }

    def _status(self, each: Container) -> Manifest:
        running = {"running": {"startedAt": self.made_at}}
        waiting = {"waiting": {"reason": "CrashLoopBackOff"}}
        state = waiting if each.is_waiting else running
        if each.exit_code is not None:
            state = {"terminated": {"exitCode": each.exit_code, "finishedAt": now()}}
        last = {"terminated": {"exitCode": 1, "finishedAt": self.made_at}} if each.previous else {}
        return {
            "name": each.name,
            "image": "busybox",
            "imageID": "",
            "ready": each.exit_code is None,
            "restartCount": each.restart,
            "state": state,
            "lastState": last,
        }


def now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class Cluster:
    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        self.pods: dict[Key, Pod] = {}
        self.runs: dict[tuple[str, str, int], Run] = {}  # (pod uid, container, restart), also of pods that are gone
        self.names: dict[str, str] = {}  # pod uid -> name
        self.clocks: dict[str, int] = {}  # node -> how many ns its clock lags
        self.events: deque[tuple[int, str, Pod, Manifest]] = deque()
        self.watchers: set[asyncio.Event] = set()
        self._versions = itertools.count(1000)
        self.version = next(self._versions)
        self.nodes = ["node-0"]

    # -- pods --------------------------------------------------------------------------------------------------------
    def add(
        self,
        *,
        namespace: str,
        name: str,
        labels: dict[str, str],
        annotations: dict[str, str] | None = None,
        containers: Iterable[str] = ("main",),
        node: str = "node-0",
    ) -> Pod:
        """A running pod. Raises ValueError when its name is taken."""
        if (namespace, name) in self.pods:
            raise ValueError(f"pods {name!r} already exists")
        made = {each: Container(each, Run(self.rules)) for each in containers}
        pod = Pod(namespace, name, node, dict(labels), dict(annotations or {}), made)
        self.pods[namespace, name] = pod
        self.names[pod.uid] = name
        for each in made.values():
            self.runs[pod.uid, each.name, 0] = each.run
        if node not in self.nodes:
            self.nodes.append(node)
        self.announce("ADDED", pod)
        return pod

    def restart(self, pod: Pod, container: str, *, exit_code: int = 1) -> None:
        """The container dies and runs again at once: the node keeps its last instance, and forgets the one before."""
        held = pod.containers[container]
        held.run.end()
        held.previous, held.run, held.restart = held.run, Run(self.rules), held.restart + 1
        self.runs[pod.uid, container, held.restart] = held.run
        self.announce("MODIFIED", pod)

    def finish(self, pod: Pod, *, exit_code: int = 0) -> None:
        for each in pod.containers.values():
            each.exit_code = exit_code
            each.run.end()
        self.announce("MODIFIED", pod)

    def leave(self, pod: Pod) -> None:
        """Deletion was asked for; the containers have their grace."""
        pod.leaving_at = now()
        self.announce("MODIFIED", pod)

    def remove(self, pod: Pod, *, is_node_lost: bool = False) -> None:
        """The object is gone, and its files with it; who still reads gets the rest, unless the node went first."""
        if self.pods.get((pod.namespace, pod.name)) is not pod:
            return
        del self.pods[pod.namespace, pod.name]
        for each in pod.containers.values():
            each.run.lose() if is_node_lost else each.run.end()
        self.announce("DELETED", pod)

    # -- events ------------------------------------------------------------------------------------------------------
    def announce(self, kind: str, pod: Pod) -> None:
        self.version = pod.version = next(self._versions)
        self.events.append((self.version, kind, pod, pod.manifest()))
        while len(self.events) > self.rules.events_kept:
            self.events.popleft()
        for watcher in self.watchers:
            watcher.set()

    def is_expired(self, version: int) -> bool:
        """Whether events after `version` may have been forgotten."""
        return bool(self.events) and version < self.events[0][0] - 1 and len(self.events) >= self.rules.events_kept

    def since(self, version: int) -> list[tuple[int, str, Pod, Manifest]]:
        found = []
        for event in reversed(self.events):
            if event[0] <= version:
                break
            found.append(event)
        return found[::-1]

    # -- time --------------------------------------------------------------------------------------------------------
    def step_back(self, node: str) -> int:
        return self.clocks.get(node, 0)
