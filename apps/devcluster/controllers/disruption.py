"""Counts what PodDisruptionBudgets allow (pkg/controller/disruption); the eviction subresource asks their status."""

from __future__ import annotations

import time

from apps.devcluster.api.selectors import matches
from apps.devcluster.client import (
    BUDGETS,
    DEPLOYMENTS,
    JOBS,
    PODS,
    REPLICA_SETS,
    Client,
    Informers,
    Object,
    controller_of,
)
from apps.devcluster.controllers.owner import Owner, leaving, ready, set_condition, terminal
from apps.devcluster.controllers.rollout import share, size
from apps.devcluster.loops import seconds_of

PATIENCE_SECONDS = 120.0  # How long an evicted pod may take to go before it is counted again.


class DisruptionController(Owner):
    """Budgets and the pods they select; they own none, so nothing is claimed."""

    parent, child, component = BUDGETS, PODS, "controllermanager"

    def __init__(self, client: Client, informers: Informers) -> None:
        super().__init__(client, informers)
        self._scales = {resource.kind: informers[resource] for resource in (REPLICA_SETS, DEPLOYMENTS, JOBS)}
        for informer in self._scales.values():
            informer.subscribe(self.on_child)

    def on_child(self, kind: str, child: Object) -> None:
        """Whatever happens to a pod, or to what owns it, is counted by the budgets of its namespace."""
        for budget in self.parents.of_namespace(child["metadata"]["namespace"]):
            self.on_parent("MODIFIED", budget)

    async def reconcile(self, namespace: str, name: str) -> float | None:
        """One count of one budget."""
        budget = self.parents.get(namespace, name)
        if budget is None or leaving(budget):
            return None
        found = self.children.of_namespace(namespace)
        pods = [pod for pod in found if selects_pods(budget, pod) and not terminal(pod)]
        status = dict(budget.get("status") or {})
        evicted = self._still_evicted(status, pods)
        healthy = sum(ready(p) and not leaving(p) and p["metadata"]["name"] not in evicted for p in pods)
        expected, desired = self._expected(budget["spec"], pods)
        allowed = max(0, healthy - desired) if expected else 0
        status |= {
            "observedGeneration": budget["metadata"]["generation"],
            "disruptionsAllowed": allowed,
            "currentHealthy": healthy,
            "desiredHealthy": desired,
            "expectedPods": expected,
        }
        status.pop("disruptedPods", None)
        if evicted:
            status["disruptedPods"] = evicted
        words = ("True", "SufficientPods") if allowed else ("False", "InsufficientPods")
        set_condition(status, "DisruptionAllowed", *words, "", observedGeneration=budget["metadata"]["generation"])
        await self.set_status(budget, status)
        return PATIENCE_SECONDS if evicted else None

    def _still_evicted(self, status: Object, pods: list[Object]) -> Object:
        """Evictions that the API granted and whose pods do not show it yet."""
        here = {pod["metadata"]["name"] for pod in pods if not leaving(pod)}
        since = time.time() - PATIENCE_SECONDS
        granted = (status.get("disruptedPods") or {}).items()
        return {name: at for name, at in granted if name in here and seconds_of(at) > since}

    def _expected(self, spec: Object, pods: list[Object]) -> tuple[int, int]:
        """How many pods there should be, and how many of them must be healthy."""
        if (most := spec.get("maxUnavailable")) is not None:
            expected = self._scale_of(pods)
            return expected, max(0, expected - share(most, expected, up=True))
        least = spec.get("minAvailable", 1)
        expected = self._scale_of(pods) if isinstance(least, str) else len(pods)
        return expected, share(least, expected, up=True)

    def _scale_of(self, pods: list[Object]) -> int:
        """The replicas that the pods' controllers want, each controller once; a pod without one counts itself."""
        sizes: dict[str, int] = {}
        for pod in pods:
            owner = controller_of(pod)
            while (obj := self._find(pod, owner)) and controller_of(obj):
                owner = controller_of(obj)
            wanted = obj["spec"].get("parallelism") if obj and owner.get("kind") == "Job" else None
            uid = owner.get("uid") or pod["metadata"]["uid"]
            sizes[uid] = 1 if obj is None else wanted if wanted is not None else size(obj)
        return sum(sizes.values())

    def _find(self, pod: Object, owner: Object) -> Object | None:
        informer = self._scales.get(owner.get("kind", ""))
        return informer.get(pod["metadata"]["namespace"], owner["name"]) if informer else None


def selects_pods(budget: Object, pod: Object) -> bool:
    """An empty selector selects every pod, a missing one none."""
    selector = budget["spec"].get("selector")
    return selector is not None and matches(selector, pod["metadata"].get("labels"))
