"""Pods spread evenly over the values of a node label: `topologySpreadConstraints` (plugins/podtopologyspread)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from apps.devcluster.api.selectors import matches
from apps.devcluster.client import Object
from apps.devcluster.placement import Refusal, Room, selected, tolerated

UNEVEN = "node(s) didn't match pod topology spread constraints"
Rule = Mapping[str, Any]


def why_uneven(pod: Object, room: Room, rooms: Mapping[str, Room]) -> Refusal | None:
    """Why one pod more on this node would break a `DoNotSchedule` rule; None where it would not."""
    rules = _rules(pod, "DoNotSchedule")
    for rule in rules:
        place = room.labels.get(rule["topologyKey"])
        if place is None:
            return Refusal([f"{UNEVEN} (missing required label)"])
        counts = _counts(pod, rule, rules, rooms)
        least = min(counts.values()) if len(counts) >= max(1, rule.get("minDomains") or 1) else 0
        if counts.get(place, 0) + _counted(pod, rule, pod) - least > rule["maxSkew"]:
            return Refusal([UNEVEN], curable=True)
    return None


def crowding(pod: Object, room: Room, rooms: Mapping[str, Room]) -> float:
    """How many pods are where this node is, as the `ScheduleAnyway` rules count them."""
    rules, total = _rules(pod, "ScheduleAnyway"), 0
    for rule in rules:
        counts = _counts(pod, rule, rules, rooms)
        total += counts.get(room.labels.get(rule["topologyKey"], ""), max(counts.values(), default=0) + 1)
    return total


def _rules(pod: Object, when: str) -> list[Rule]:
    return [rule for rule in pod["spec"].get("topologySpreadConstraints") or () if rule["whenUnsatisfiable"] == when]


def _counts(pod: Object, rule: Rule, rules: list[Rule], rooms: Mapping[str, Room]) -> dict[str, int]:
    """The pods that count in each place: one of nodes with all labels that the pod's own affinity allows."""
    counts: dict[str, int] = {}
    for room in rooms.values():
        if all(other["topologyKey"] in room.labels for other in rules) and _counting(pod, rule, room):
            place = room.labels[rule["topologyKey"]]
            counts[place] = counts.get(place, 0) + sum(_counted(pod, rule, other) for other in room.pods.values())
    return counts


def _counting(pod: Object, rule: Rule, room: Room) -> bool:
    if rule.get("nodeAffinityPolicy", "Honor") == "Honor" and not selected(pod, room.node):
        return False
    taints = ((room.node.get("spec") or {}).get("taints") or ()) if rule.get("nodeTaintsPolicy") == "Honor" else ()
    return all(tolerated(pod, taint) for taint in taints if taint["effect"] != "PreferNoSchedule")


def _counted(pod: Object, rule: Rule, other: Object) -> bool:
    """Whether the rule of `pod` counts `other`: those on their way out no longer are."""
    meta, labels = other["metadata"], other["metadata"].get("labels") or {}
    selector, mine = rule.get("labelSelector"), pod["metadata"].get("labels") or {}
    if selector is None or meta["namespace"] != pod["metadata"]["namespace"] or meta.get("deletionTimestamp"):
        return False
    alike = all(labels.get(key) == mine[key] for key in rule.get("matchLabelKeys") or () if key in mine)
    return alike and matches(selector, labels)
