"""Binds pods to nodes: priority order, the usual filters, most free processor first, and the real words
where nothing fits.

Preemption is not done; the condition says so with the real scheduler's text for the case where it does not
help.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from decimal import Decimal
from typing import Any

import aiohttp

from apps.devcluster.client import NODES, PODS, ApiError, Client, Informers, Object
from apps.devcluster.loops import Recorder, now
from apps.devcluster.quantities import parse

NAME = "default-scheduler"
TOLERATE_FOREVER = ("node.kubernetes.io/unschedulable", "NoSchedule")
RETRY_SECONDS = 30.0


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
    if not required:
        return True
    fields = {"metadata.name": node["metadata"]["name"]}
    return any(
        all(_expression(item, labels) for item in term.get("matchExpressions") or [])
        and all(_expression(item, fields) for item in term.get("matchFields") or [])
        for term in required["nodeSelectorTerms"]
        if term.get("matchExpressions") or term.get("matchFields")
    )


def tolerated(pod: Object, taint: dict[str, Any]) -> bool:
    """Whether some toleration of the pod covers the taint."""
    for item in pod["spec"].get("tolerations") or []:
        if item.get("effect") and item["effect"] != taint["effect"]:
            continue
        exists = item.get("operator", "Equal") == "Exists"
        if exists and item.get("key") in (None, "", taint["key"]):
            return True
        if not exists and item.get("key") == taint["key"] and item.get("value", "") == taint.get("value", ""):
            return True
    return False


def why_not(pod: Object, node: Object, free: dict[str, Decimal]) -> list[str]:
    """Why the pod does not fit this node, in the scheduler's words; empty where it does."""
    unschedulable = {"key": TOLERATE_FOREVER[0], "effect": TOLERATE_FOREVER[1]}
    spec = node.get("spec") or {}
    if spec.get("unschedulable") and not tolerated(pod, unschedulable):
        return ["node(s) were unschedulable"]
    for taint in spec.get("taints") or []:
        if taint["effect"] in ("NoSchedule", "NoExecute") and not tolerated(pod, taint):
            return [f"node(s) had untolerated taint(s) {{{taint['key']}: {taint.get('value', '')}}}"]
    if not selected(pod, node):
        return ["node(s) didn't match Pod's node affinity/selector"]
    short = [key for key, value in requests(pod).items() if value > 0 and value > free.get(key, Decimal(0))]
    reasons = [f"Insufficient {key}" for key in sorted(short)]
    return reasons + (["Too many pods"] if free.get("pods", Decimal(1)) < 1 else [])


def explain(reasons: Counter[str], nodes: int) -> str:
    """The message of the condition and of the event."""
    if not nodes:
        return "no nodes available to schedule pods"
    listed = ", ".join(sorted(f"{count} {reason}" for reason, count in reasons.items()))
    head = f"0/{nodes} nodes are available"
    helpless = f"{nodes} Preemption is not helpful for scheduling"
    return f"{head}: {listed}. no new claims to deallocate, preemption: {head}: {helpless}."


class Scheduler:
    """One pass over all waiting pods whenever something changed."""

    def __init__(self, client: Client, informers: Informers) -> None:
        self._client = client
        self._pods, self._nodes = informers[PODS], informers[NODES]
        self._recorder = Recorder(client, NAME)
        self._assumed: dict[str, tuple[str, Object]] = {}
        self._refused: dict[str, tuple[str, float]] = {}
        self._waiting: dict[str, Object] = {}
        self._using: dict[str, tuple[str, dict[str, Decimal]]] = {}
        self._wake = asyncio.Event()
        self._pods.subscribe(self._on_pod)
        self._nodes.subscribe(lambda kind, obj: self._wake.set())

    def _on_pod(self, kind: str, pod: Object) -> None:
        uid, node = pod["metadata"]["uid"], pod["spec"].get("nodeName")
        over = kind == "DELETED" or (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")
        self._waiting.pop(uid, None)
        if over:
            freed = self._using.pop(uid, None)
            self._refused.pop(uid, None)
            if freed and self._waiting:
                self._wake.set()
        elif node:
            if uid not in self._using:
                self._using[uid] = (node, requests(pod))
        elif self._ours(pod):
            self._waiting[uid] = pod
            self._wake.set()

    @staticmethod
    def _ours(pod: Object) -> bool:
        spec, meta = pod["spec"], pod["metadata"]
        gated = spec.get("schedulingGates") or meta.get("deletionTimestamp")
        return spec.get("schedulerName", NAME) == NAME and not gated

    async def run(self) -> None:
        """Schedule for ever."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            order = sorted(self._waiting.values(), key=lambda p: (-(p["spec"].get("priority") or 0), _queued(p)))
            free = self._free() if order else {}
            for pod in order:
                if pod["metadata"]["uid"] in self._waiting:
                    await self._try(pod, free)

    def _free(self) -> dict[str, dict[str, Decimal]]:
        free = {
            node["metadata"]["name"]: {key: parse(value) for key, value in node["status"]["allocatable"].items()}
            for node in self._nodes.items.values()
            if (node.get("status") or {}).get("allocatable")
        }
        for node, needs in self._using.values():
            if node in free:
                _take(free[node], needs)
        return free

    async def _try(self, pod: Object, free: dict[str, dict[str, Decimal]]) -> None:
        reasons: Counter[str] = Counter()
        fitting = []
        for node in self._nodes.items.values():
            name = node["metadata"]["name"]
            if name in free:
                problems = why_not(pod, node, free[name])
                reasons.update(problems)
                if not problems:
                    fitting.append(name)
        try:
            if fitting:
                best = max(fitting, key=lambda name: (free[name].get("cpu", Decimal(0)), name))
                await self._bind(pod, best)
                _take(free[best], requests(pod))
            else:
                await self._refuse(pod, explain(reasons, len(free)))
        except (ApiError, aiohttp.ClientError, OSError) as error:
            if not (isinstance(error, ApiError) and error.code in (404, 409)):
                asyncio.get_running_loop().call_later(1, self._wake.set)

    async def _bind(self, pod: Object, node: str) -> None:
        meta = pod["metadata"]
        target = {"apiVersion": "v1", "kind": "Node", "name": node}
        body = {"apiVersion": "v1", "kind": "Binding", "target": target}
        body["metadata"] = {"name": meta["name"], "namespace": meta["namespace"], "uid": meta["uid"]}
        self._using[meta["uid"]] = (node, requests(pod))
        self._waiting.pop(meta["uid"], None)
        try:
            await self._client.call("POST", PODS.path(meta["namespace"], meta["name"], "binding"), body)
        except BaseException:
            self._using.pop(meta["uid"], None)
            raise
        text = f"Successfully assigned {meta['namespace']}/{meta['name']} to {node}"
        self._recorder.tell(pod, "Scheduled", text, kind="Pod")

    async def _refuse(self, pod: Object, message: str) -> None:
        uid, meta = pod["metadata"]["uid"], pod["metadata"]
        said, at = self._refused.get(uid, ("", 0.0))
        if said == message and time.monotonic() - at < RETRY_SECONDS:
            return
        self._refused[uid] = (message, time.monotonic())
        self._recorder.tell(pod, "FailedScheduling", message, kind="Pod", warning=True)
        if said == message:
            return
        entry = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}
        entry |= {
            "observedGeneration": meta.get("generation", 1),
            "lastProbeTime": None,
            "lastTransitionTime": now(),
        }
        others = [c for c in (pod.get("status") or {}).get("conditions") or [] if c["type"] != "PodScheduled"]
        body = {"metadata": {"uid": uid}, "status": {"conditions": [*others, entry]}}
        await self._client.patch(PODS, meta["namespace"], meta["name"], body, "status")


def _queued(pod: Object) -> tuple[str, int]:
    return pod["metadata"]["creationTimestamp"], int(pod["metadata"]["resourceVersion"])


def _take(free: dict[str, Decimal], needs: dict[str, Decimal]) -> None:
    for key, value in (needs | {"pods": Decimal(1)}).items():
        free[key] = free.get(key, Decimal(0)) - value
