"""Pods beside pods: required affinity and anti-affinity by topology key, asked before a pod is placed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from apps.devcluster.api.selectors import matches
from apps.devcluster.client import Object
from apps.devcluster.placement import Refusal, Room

REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
Term = Mapping[str, Any]
Namespaces = Mapping[str, dict[str, str]]


def terms(pod: Object, kind: str) -> list[Term]:
    """The required terms of `podAffinity` or `podAntiAffinity`."""
    affinity = (pod["spec"].get("affinity") or {}).get(kind) or {}
    return affinity.get(REQUIRED) or []


def why_apart(pod: Object, room: Room, rooms: Mapping[str, Room], namespaces: Namespaces) -> Refusal | None:
    """Why other pods keep this pod off the node; None where they do not."""
    for term in terms(pod, "podAffinity"):
        if not _together(pod, term, room, rooms, namespaces):
            return Refusal(["node(s) didn't match pod affinity rules"])
    for term in terms(pod, "podAntiAffinity"):
        if any(_covers(term, pod, other, namespaces) for other in _near(term, room, rooms)):
            return Refusal(["node(s) didn't match pod anti-affinity rules"], curable=True)
    for other_room in rooms.values():
        for other in other_room.loners.values():
            for term in terms(other, "podAntiAffinity"):
                if _same_place(term, room, other_room) and _covers(term, other, pod, namespaces):
                    return Refusal(["node(s) didn't satisfy existing pods anti-affinity rules"], curable=True)
    return None


def pods_covered(pod: Object, term: Term, room: Room, rooms: Mapping[str, Room], namespaces: Namespaces) -> int:
    """How many pods in the node's domain the term of `pod` speaks of."""
    return sum(_covers(term, pod, other, namespaces) for other in _near(term, room, rooms))


def _together(pod: Object, term: Term, room: Room, rooms: Mapping[str, Room], namespaces: Namespaces) -> bool:
    """Some pod of the term is in the node's domain; the first of a group that wants its own kind may start it."""
    if term["topologyKey"] not in room.labels:
        return False
    if any(_covers(term, pod, other, namespaces) for other in _near(term, room, rooms)):
        return True
    everyone = (other for each in rooms.values() for other in each.pods.values())
    return _covers(term, pod, pod, namespaces) and not any(_covers(term, pod, o, namespaces) for o in everyone)


def _near(term: Term, room: Room, rooms: Mapping[str, Room]) -> Iterator[Object]:
    for other in rooms.values():
        if _same_place(term, room, other):
            yield from other.pods.values()


def _same_place(term: Term, room: Room, other: Room) -> bool:
    where = room.labels.get(term["topologyKey"])
    return where is not None and other.labels.get(term["topologyKey"]) == where


def _covers(term: Term, owner: Object, other: Object, namespaces: Namespaces) -> bool:
    """Whether the term of `owner` speaks of `other`."""
    space, listed, chosen = other["metadata"]["namespace"], term.get("namespaces"), term.get("namespaceSelector")
    inside = space in (listed or ())
    if chosen is not None:
        inside = inside or matches(chosen, namespaces.get(space))
    elif not listed:
        inside = space == owner["metadata"]["namespace"]
    selector = term.get("labelSelector")
    return inside and selector is not None and matches(selector, other["metadata"].get("labels"))
