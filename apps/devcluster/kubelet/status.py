"""A pod's status from the state of its containers: pure functions, so the recorded orders can be tested.

Source: https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/ and the recorded behaviour of 1.36.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any

from apps.devcluster.client import Object

KUBELET_CONDITIONS = ("PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled")


@dataclass
class Slot:
    """One container of the pod over all its runs."""

    spec: Object
    init: bool = False
    state: dict[str, Any] = field(default_factory=dict)
    last_state: dict[str, Any] = field(default_factory=dict)
    restarts: int = 0
    ready: bool = False
    started: bool = False
    container_id: str = ""

    @property
    def name(self) -> str:
        """The container's name."""
        return self.spec["name"]

    @property
    def sidecar(self) -> bool:
        """A restartable init container."""
        return self.init and self.spec.get("restartPolicy") == "Always"

    @property
    def ended(self) -> dict[str, Any] | None:
        """The terminated state, if it is in one."""
        return self.state.get("terminated")

    @property
    def has_run(self) -> bool:
        """Whether the container was started at least once (a command that cannot be executed never was)."""
        ended = self.ended is not None and self.ended["reason"] != "StartError"
        return "running" in self.state or ended or bool(self.last_state)

    @property
    def initialized(self) -> bool:
        """An init container is done when it succeeded, a sidecar when it has started."""
        if self.sidecar:
            return self.started or self.ended is not None
        return self.ended is not None and self.ended["exitCode"] == 0

    def as_status(self) -> Object:
        """The entry in `containerStatuses`."""
        image = self.spec["image"]
        status: Object = {
            "name": self.name,
            "state": self.state,
            "lastState": self.last_state,
            "ready": self.ready,
            "restartCount": self.restarts,
            "image": full_image_name(image) if self.container_id else image,
            "imageID": f"sha256:{hashlib.sha256(image.encode()).hexdigest()}" if self.container_id else "",
            "started": self.started,
        }
        if self.container_id:
            status["containerID"] = self.container_id
        return status


def full_image_name(image: str) -> str:
    """The name with registry and library folder, as the runtime reports it."""
    first, _, rest = image.partition("/")
    name = image
    if not rest:
        name = f"docker.io/library/{image}"
    elif not ("." in first or ":" in first or first == "localhost"):
        name = f"docker.io/{image}"
    return name if ":" in name.rsplit("/", 1)[-1] or "@" in name else f"{name}:latest"


def outcome(inits: list[Slot], mains: list[Slot], restart_policy: str) -> str | None:
    """How the pod has ended as far as its containers tell: Succeeded, Failed, or None while it goes on."""
    for slot in inits:
        if not slot.sidecar and slot.ended and slot.ended["exitCode"] != 0 and restart_policy == "Never":
            return "Failed"
    if not mains or any(not slot.ended for slot in mains) or restart_policy == "Always":
        return None
    failed = any(slot.ended and slot.ended["exitCode"] != 0 for slot in mains)
    if failed:
        return "Failed" if restart_policy == "Never" else None
    return "Succeeded"


def _ready_condition(names: list[str], ended: str | None) -> dict[str, Any]:
    if ended == "Succeeded":
        return {"status": "False", "reason": "PodCompleted"}
    if ended == "Failed":
        return {"status": "False", "reason": "PodFailed"}
    if names:
        text = f"containers with unready status: [{' '.join(names)}]"
        return {"status": "False", "reason": "ContainersNotReady", "message": text}
    return {"status": "True"}


def _initialized(inits: list[Slot], mains: list[Slot], ended: str | None) -> dict[str, Any]:
    missing = [slot.name for slot in inits if not slot.initialized]
    if missing and not any("running" in slot.state or slot.ended for slot in mains):
        text = f"containers with incomplete status: [{' '.join(missing)}]"
        return {"status": "False", "reason": "ContainersNotInitialized", "message": text}
    return {"status": "True", "reason": "PodCompleted"} if ended == "Succeeded" else {"status": "True"}


def conditions(
    inits: list[Slot],
    mains: list[Slot],
    *,
    ended: str | None,
    sandbox: bool,
    before: list[Object],
    pod: Object,
    at: str,
) -> list[Object]:
    """All conditions in the recorded order, keeping the time of those that did not change."""
    unready = [slot.name for slot in [*(s for s in inits if s.sidecar), *mains] if not slot.ready]
    gates = pod["spec"].get("readinessGates") or []
    others = [item for item in before if item["type"] not in KUBELET_CONDITIONS]
    open_gates = [
        gate["conditionType"]
        for gate in gates
        if not any(c["type"] == gate["conditionType"] and c["status"] == "True" for c in others)
    ]
    ready = containers_ready = _ready_condition(unready, ended)
    if open_gates and ready["status"] == "True":
        text = "the status of pod readiness gate " + ", ".join(f'"{g}"' for g in open_gates) + ' is not "True"'
        ready = {"status": "False", "reason": "ReadinessGatesNotReady", "message": text}
    wanted = {
        "PodReadyToStartContainers": {"status": "True" if sandbox else "False"},
        "Initialized": _initialized(inits, mains, ended),
        "Ready": ready,
        "ContainersReady": containers_ready,
        "PodScheduled": {"status": "True"},
    }
    old = {item["type"]: item for item in before}
    generation = pod["metadata"].get("generation", 1)
    result = [dict(item) for item in others]
    for kind, body in wanted.items():
        known = old.get(kind)
        same = known is not None and known["status"] == body["status"]
        when = known["lastTransitionTime"] if same and known else at
        base = {
            "type": kind,
            "observedGeneration": generation,
            "lastProbeTime": None,
            "lastTransitionTime": when,
        }
        result.append(base | body)
    return result
