"""Which of the nodes that fit a pod it would rather have: wishes only order the nodes, they refuse none."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from apps.devcluster.affinity import Namespaces, pods_covered
from apps.devcluster.client import Object
from apps.devcluster.placement import Room, matches_terms, tolerated
from apps.devcluster.spread import crowding

PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"
# The scheduler's plugins and their default weights: TaintToleration, NodeAffinity, InterPodAffinity, PodTopologySpread.
TAINTS, NODES, PODS, SPREAD = 3, 2, 2, 2


def wishes(pod: Object, fitting: list[Room], rooms: Mapping[str, Room], namespaces: Namespaces) -> dict[str, float]:
    """A mark per node: each kind of wish gives 0 on the worst node to 100 on the best, times its weight."""
    kinds = {
        "taints": (TAINTS, [-_unwelcome(pod, room) for room in fitting]),
        "nodes": (NODES, [_node_affinity(pod, room) for room in fitting]),
        "pods": (PODS, [_pod_affinity(pod, room, rooms, namespaces) for room in fitting]),
        "spread": (SPREAD, [-crowding(pod, room, rooms) for room in fitting]),
    }
    marks = dict.fromkeys((room.name for room in fitting), 0.0)
    for weight, values in kinds.values():
        low, high = min(values), max(values)
        for room, value in zip(fitting, values, strict=True):
            marks[room.name] += weight * 100 * (value - low) / (high - low) if high > low else 0
    return marks


def _preferred(pod: Object, kind: str) -> list[dict[str, Any]]:
    return ((pod["spec"].get("affinity") or {}).get(kind) or {}).get(PREFERRED) or []


def _unwelcome(pod: Object, room: Room) -> float:
    taints = (room.node.get("spec") or {}).get("taints") or ()
    return sum(taint["effect"] == "PreferNoSchedule" and not tolerated(pod, taint) for taint in taints)


def _node_affinity(pod: Object, room: Room) -> float:
    wished = _preferred(pod, "nodeAffinity")
    return sum(term["weight"] for term in wished if matches_terms(room.node, [term["preference"]]))


def _pod_affinity(pod: Object, room: Room, rooms: Mapping[str, Room], namespaces: Namespaces) -> float:
    """Each pod that a term speaks of counts; what the others' preferences say about this one is not asked."""
    total = 0
    for sign, kind in ((1, "podAffinity"), (-1, "podAntiAffinity")):
        for wish in _preferred(pod, kind):
            total += sign * wish["weight"] * pods_covered(pod, wish["podAffinityTerm"], room, rooms, namespaces)
    return total
