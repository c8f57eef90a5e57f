"""Whether a pod fits a node: the scheduler's filters, in its order and with its words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from apps.devcluster.client import Object
from apps.devcluster.quantities import parse

UNSCHEDULABLE = {"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}
KEPT_REQUESTS = 4096
HELPLESS = "Preemption is not helpful for scheduling"


@dataclass(frozen=True)
class Refusal:
    """Why a pod does not fit a node, and whether the node would do with fewer pods on it."""

    reasons: list[str]
    curable: bool = False


@dataclass
class Room:
    """A node with the pods that count on it: those bound there and those nominated for it."""

    node: Object
    pods: dict[str, Object] = field(default_factory=dict)
    free: dict[str, Decimal] = field(default_factory=dict)
    loners: dict[str, Object] = field(default_factory=dict)  # those with anti-affinity of their own: few are

    def __post_init__(self) -> None:
        self.free = self.allocatable()
        for pod in list(self.pods.values()):
            self._count(pod)

    @property
    def name(self) -> str:
        return str(self.node["metadata"]["name"])

    @property
    def labels(self) -> dict[str, str]:
        return self.node["metadata"].get("labels") or {}

    def allocatable(self) -> dict[str, Decimal]:
        found = (self.node.get("status") or {}).get("allocatable") or {}
        return {key: parse(value) for key, value in found.items()}

    def add(self, pod: Object) -> None:
        """Count the pod in."""
        if pod["metadata"]["uid"] not in self.pods:
            self.pods[pod["metadata"]["uid"]] = pod
            self._count(pod)

    def remove(self, pod: Object) -> None:
        """Count the pod out."""
        if found := self.pods.pop(pod["metadata"]["uid"], None):
            self.loners.pop(pod["metadata"]["uid"], None)
            self._take(found, -1)

    def copy(self) -> Room:
        room = Room(self.node)
        room.pods, room.free, room.loners = dict(self.pods), dict(self.free), dict(self.loners)
        return room

    def _count(self, pod: Object) -> None:
        if (pod["spec"].get("affinity") or {}).get("podAntiAffinity"):
            self.loners[pod["metadata"]["uid"]] = pod
        self._take(pod, 1)

    def _take(self, pod: Object, sign: int) -> None:
        for key, value in (_known_requests(pod) | {"pods": Decimal(1)}).items():
            self.free[key] = self.free.get(key, Decimal(0)) - sign * value


_KNOWN: dict[tuple[str, int], dict[str, Decimal]] = {}


def _known_requests(pod: Object) -> dict[str, Decimal]:
    """`requests`, worked out once per pod: every pass of the scheduler counts all placed pods."""
    key = pod["metadata"]["uid"], pod["metadata"].get("generation", 1)
    if key not in _KNOWN:
        if len(_KNOWN) >= KEPT_REQUESTS:
            del _KNOWN[next(iter(_KNOWN))]
        _KNOWN[key] = requests(pod)
    return _KNOWN[key]


def requests(pod: Object) -> dict[str, Decimal]:
    """What the pod needs: its containers together with its sidecars, or its hungriest init container."""
    spec = pod["spec"]
    total: dict[str, Decimal] = {}
    for container in spec["containers"]:
        _add(total, _of_container(container))
    running: dict[str, Decimal] = {}
    peak: dict[str, Decimal] = {}
    for container in spec.get("initContainers") or []:
        needs = _of_container(container)
        if container.get("restartPolicy") == "Always":
            _add(running, needs)
            needs = {}
        step = dict(running)
        _add(step, needs)
        for key, value in step.items():
            peak[key] = max(peak.get(key, Decimal(0)), value)
    _add(total, running)
    for key, value in peak.items():
        total[key] = max(total.get(key, Decimal(0)), value)
    _add(total, {key: parse(value) for key, value in (spec.get("overhead") or {}).items()})
    return total


def _of_container(container: Object) -> dict[str, Decimal]:
    resources = container.get("resources") or {}
    wanted = (resources.get("limits") or {}) | (resources.get("requests") or {})
    return {key: parse(value) for key, value in wanted.items()}


def _add(total: dict[str, Decimal], more: dict[str, Decimal]) -> None:
    for key, value in more.items():
        total[key] = total.get(key, Decimal(0)) + value


def _expression(item: dict[str, Any], labels: dict[str, str]) -> bool:
    key, operator, values = item["key"], item["operator"], item.get("values") or []
    value = labels.get(key)
    if operator == "Exists":
        return value is not None
    if operator == "DoesNotExist":
        return value is None
    if operator == "In":
        return value in values
    if operator == "NotIn":
        return value not in values
    if value is None or not value.lstrip("-").isdigit():
        return False
    return int(value) > int(values[0]) if operator == "Gt" else int(value) < int(values[0])


def selected(pod: Object, node: Object) -> bool:
    """nodeSelector and the required node affinity."""
    labels = node["metadata"].get("labels") or {}
    wanted = pod["spec"].get("nodeSelector") or {}
    if any(labels.get(key) != value for key, value in wanted.items()):
        return False
    affinity = (pod["spec"].get("affinity") or {}).get("nodeAffinity") or {}
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution")
    return not required or matches_terms(node, required["nodeSelectorTerms"])


def matches_terms(node: Object, terms: list[dict[str, Any]]) -> bool:
    """Whether one of the node selector's terms, each all of its expressions, is true of the node."""
    labels, fields = node["metadata"].get("labels") or {}, {"metadata.name": node["metadata"]["name"]}
    return any(
        all(_expression(item, labels) for item in term.get("matchExpressions") or [])
        and all(_expression(item, fields) for item in term.get("matchFields") or [])
        for term in terms
        if term.get("matchExpressions") or term.get("matchFields")
    )


def tolerates(toleration: dict[str, Any], taint: dict[str, Any]) -> bool:
    """Whether the toleration covers the taint."""
    if toleration.get("effect") and toleration["effect"] != taint["effect"]:
        return False
    key = toleration.get("key")
    if toleration.get("operator", "Equal") == "Exists":
        return key in (None, "", taint["key"])
    return bool(key == taint["key"] and toleration.get("value", "") == taint.get("value", ""))


def tolerated(pod: Object, taint: dict[str, Any]) -> bool:
    """Whether some toleration of the pod covers the taint."""
    return any(tolerates(item, taint) for item in pod["spec"].get("tolerations") or [])


def why_not(pod: Object, room: Room) -> Refusal | None:
    """Why the pod does not fit this node, but for other pods' affinity (`affinity.py`); None where it does."""
    spec = room.node.get("spec") or {}
    if spec.get("unschedulable") and not tolerated(pod, UNSCHEDULABLE):
        return Refusal(["node(s) were unschedulable"])
    for taint in spec.get("taints") or []:
        if taint["effect"] in ("NoSchedule", "NoExecute") and not tolerated(pod, taint):
            return Refusal(["node(s) had untolerated taint(s)"])
    if not selected(pod, room.node):
        return Refusal(["node(s) didn't match Pod's node affinity/selector"])
    needs, whole = requests(pod), room.allocatable()
    short = [key for key, value in needs.items() if value > 0 and value > room.free.get(key, Decimal(0))]
    reasons = [f"Insufficient {key}" for key in sorted(short)]
    if room.free.get("pods", Decimal(1)) < 1:
        reasons.append("Too many pods")
    curable = all(needs[key] <= whole.get(key, Decimal(0)) for key in short)
    return Refusal(reasons, curable) if reasons else None


def summary(reasons: Mapping[str, int], nodes: int) -> str:
    """`0/2 nodes are available: 1 Insufficient cpu, 1 node(s) were unschedulable.`"""
    if not nodes:
        return "no nodes available to schedule pods"
    listed = ", ".join(sorted(f"{count} {reason}" for reason, count in reasons.items()))
    return f"0/{nodes} nodes are available: {listed}."


def count(refusals: Iterable[Refusal]) -> Counter[str]:
    """How many nodes gave each reason."""
    return Counter(reason for refusal in refusals for reason in refusal.reasons)
