"""Which pods must go so that a more important one fits.

Sources: pkg/scheduler/framework/preemption, pkg/scheduler/framework/plugins/defaultpreemption. A disruption budget is
asked and may be overruled: a victim that it protects is taken where no other one helps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from apps.devcluster.api.selectors import matches
from apps.devcluster.client import Object
from apps.devcluster.placement import HELPLESS, Refusal, Room, summary
from apps.devcluster.placement import count as count_reasons

Check = Callable[[Room], Refusal | None]
BY_SCHEDULER = "PreemptionByScheduler"
NO_VICTIMS = "No preemption victims found for incoming pod"
NEVER = "not eligible due to preemptionPolicy=Never."
TERMINATING = "not eligible due to a terminating pod on the nominated node."


@dataclass(frozen=True)
class Plan:
    """A node and the pods to delete there, the most important first; how many of them a budget protects."""

    node: str
    victims: list[Object]
    violations: int = 0


def priority(pod: Object) -> int:
    return int(pod["spec"].get("priority") or 0)


def not_eligible(pod: Object, nominated: Room | None, refusal: Refusal | None) -> str | None:
    """Why the pod may not preempt now: its policy, or victims that are still on their way out."""
    if pod["spec"].get("preemptionPolicy") == "Never":
        return NEVER
    if nominated is None or (refusal and not refusal.curable):
        return None
    leaving = (other for other in nominated.pods.values() if priority(other) < priority(pod))
    return TERMINATING if any(_preempted(other) for other in leaving) else None


def _preempted(pod: Object) -> bool:
    conditions = (pod.get("status") or {}).get("conditions") or []
    marked = any(c["type"] == "DisruptionTarget" and c.get("reason") == BY_SCHEDULER for c in conditions)
    return marked and "deletionTimestamp" in pod["metadata"]


def plan(
    pod: Object,
    rooms: Iterable[Room],
    refusals: dict[str, Refusal],
    check: Check,
    budgets: Sequence[Object] = (),
) -> Plan | str:
    """The cheapest node to make room on, or the scheduler's words why none helps."""
    plans: list[Plan] = []
    told: list[Refusal] = []
    for room in rooms:
        if not refusals[room.name].curable:
            told.append(Refusal([HELPLESS]))
            continue
        found = _plan_on(pod, room, check, budgets)
        if isinstance(found, Refusal):
            told.append(found)
        else:
            plans.append(found)
    return min(plans, key=_cost) if plans else summary(count_reasons(told), len(told))


def _plan_on(pod: Object, room: Room, check: Check, budgets: Sequence[Object]) -> Plan | Refusal:
    """Without all less important pods first; then as many as possible are spared: those that a budget protects before
    the others, and of each the most important first.
    """
    trial = room.copy()
    lower = sorted((p for p in room.pods.values() if priority(p) < priority(pod)), key=_importance)
    if not lower:
        return Refusal([NO_VICTIMS])
    for other in lower:
        trial.remove(other)
    if refusal := check(trial):
        return refusal
    protected = _protected(lower, budgets)
    victims = []
    for other in sorted(lower, key=lambda p: p["metadata"]["uid"] not in protected):
        trial.add(other)
        if check(trial):
            trial.remove(other)
            victims.append(other)
    violations = sum(victim["metadata"]["uid"] in protected for victim in victims)
    return Plan(room.name, sorted(victims, key=_importance), violations)


def _protected(pods: list[Object], budgets: Sequence[Object]) -> set[str]:
    """The uids of those whose going a budget does not allow, if all of them go in this order."""
    left = [(budget.get("status") or {}).get("disruptionsAllowed", 0) for budget in budgets]
    found = set()
    for pod in pods:
        for number, budget in enumerate(budgets):
            if _counts(budget, pod):
                left[number] -= 1
                if left[number] < 0:
                    found.add(pod["metadata"]["uid"])
    return found


def _counts(budget: Object, pod: Object) -> bool:
    """Whether the pod's going is held against the budget. Here, unlike for evictions, an empty selector has no pods."""
    selector, labels = budget["spec"].get("selector"), pod["metadata"].get("labels")
    if not selector or not labels or budget["metadata"]["namespace"] != pod["metadata"]["namespace"]:
        return False
    granted = (budget.get("status") or {}).get("disruptedPods") or {}
    return matches(selector, labels) and pod["metadata"]["name"] not in granted


def _started(pod: Object) -> str:
    return (pod.get("status") or {}).get("startTime") or pod["metadata"]["creationTimestamp"]


def _importance(pod: Object) -> tuple[int, str]:
    return -priority(pod), _started(pod)


def _cost(found: Plan) -> tuple[int, int, int, int, tuple[int, ...], str]:
    """Fewest that a budget protects, lowest top priority, lowest sum, fewest victims, latest start of the most
    important, then the name.
    """
    values = [priority(victim) for victim in found.victims]
    top = max(values)
    earliest = min(_started(victim) for victim in found.victims if priority(victim) == top)
    # The sum counts each victim with an offset, so that few negative priorities do not lose to many.
    total, latest = sum(value + 2**31 for value in values), tuple(-ord(c) for c in earliest)
    return found.violations, top, total, len(values), latest, found.node
