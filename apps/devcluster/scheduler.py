"""Binds pods to nodes: the most important first; the usual filters, then preferences, then most free processor, then
fewest pods; makes room by preemption; and says in the real words where nothing fits.
"""

from __future__ import annotations

import asyncio
import time
from decimal import Decimal

import aiohttp

from apps.devcluster.affinity import why_apart
from apps.devcluster.client import BUDGETS, NAMESPACES, NODES, PODS, ApiError, Client, Informers, Object
from apps.devcluster.loops import Recorder, set_pod_condition
from apps.devcluster.placement import Refusal, Room, count, summary, why_not
from apps.devcluster.preemption import BY_SCHEDULER, Plan, not_eligible, plan, priority
from apps.devcluster.preferences import wishes
from apps.devcluster.spread import why_uneven

NAME = "default-scheduler"
RETRY_SECONDS = 30.0
LOOK_AGAIN_SECONDS = 1.0


class Scheduler:
    """One pass over all waiting pods whenever something changed."""

    def __init__(self, client: Client, informers: Informers) -> None:
        self._client = client
        self._pods, self._nodes, self._namespaces = informers[PODS], informers[NODES], informers[NAMESPACES]
        self._budgets = informers[BUDGETS]
        self._recorder = Recorder(client, NAME)
        self._refused: dict[str, tuple[str, float]] = {}
        self._waiting: dict[str, Object] = {}
        self._placed: dict[str, tuple[str, Object]] = {}
        self._nominated: dict[str, str] = {}
        self._rooms: dict[str, Room] = {}
        self._spaces: dict[str, dict[str, str]] = {}
        self._wake = asyncio.Event()
        self._pods.subscribe(self._on_pod)
        self._nodes.subscribe(lambda kind, obj: self._wake.set())

    def _on_pod(self, kind: str, pod: Object) -> None:
        uid, node = pod["metadata"]["uid"], pod["spec"].get("nodeName")
        over = kind == "DELETED" or (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")
        self._waiting.pop(uid, None)
        if over:
            freed = self._placed.pop(uid, None) or self._nominated.pop(uid, None)
            self._refused.pop(uid, None)
            if freed and self._waiting:
                self._wake.set()
        elif node:
            self._placed[uid] = (node, pod)
            self._nominated.pop(uid, None)
        elif self._ours(pod):
            self._waiting[uid] = pod
            if nominated := (pod.get("status") or {}).get("nominatedNodeName"):
                self._nominated[uid] = nominated
            self._wake.set()
        else:
            self._nominated.pop(uid, None)

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
            order = sorted(self._waiting.values(), key=lambda pod: (-priority(pod), _queued(pod)))
            self._rooms = self._look() if order else {}
            spaces = (item["metadata"] for item in self._namespaces.items.values())
            self._spaces = {meta["name"]: meta.get("labels") or {} for meta in spaces}
            for pod in order:
                if pod["metadata"]["uid"] in self._waiting:
                    await self._try(pod)

    def _look(self) -> dict[str, Room]:
        known = (node for node in self._nodes.items.values() if (node.get("status") or {}).get("allocatable"))
        rooms = {node["metadata"]["name"]: Room(node) for node in known}
        for node, pod in self._placed.values():
            if node in rooms:
                rooms[node].add(pod)
        return rooms

    def _check(self, pod: Object, room: Room) -> Refusal | None:
        """Why not here, counting the pods of at least this priority that are about to come here."""
        uid, coming = pod["metadata"]["uid"], []
        for other_uid, node in self._nominated.items():
            other = self._waiting.get(other_uid)
            if node == room.name and other_uid != uid and other and priority(other) >= priority(pod):
                coming.append(other)
        if coming:
            room = room.copy()
            for other in coming:
                room.add(other)
        if refusal := why_not(pod, room):
            return refusal
        rooms = self._rooms | {room.name: room}
        return why_uneven(pod, room, rooms) or why_apart(pod, room, rooms, self._spaces)

    async def _try(self, pod: Object) -> None:
        refusals: dict[str, Refusal] = {}
        fitting = []
        for name, room in self._rooms.items():
            if refusal := self._check(pod, room):
                refusals[name] = refusal
            else:
                fitting.append(name)
        try:
            if fitting:
                await self._bind(pod, self._best(pod, fitting))
            else:
                await self._make_room(pod, refusals)
        except (ApiError, aiohttp.ClientError, OSError) as error:
            if not (isinstance(error, ApiError) and error.code in (404, 409)):
                asyncio.get_running_loop().call_later(LOOK_AGAIN_SECONDS, self._wake.set)

    def _best(self, pod: Object, fitting: list[str]) -> str:
        nominated = self._nominated.get(pod["metadata"]["uid"], "")
        if nominated in fitting:
            return nominated
        marks = wishes(pod, [self._rooms[name] for name in fitting], self._rooms, self._spaces)

        def merit(name: str) -> tuple[float, Decimal, Decimal, str]:
            free = self._rooms[name].free
            return marks[name], free.get("cpu", Decimal(0)), free.get("pods", Decimal(0)), name

        return max(fitting, key=merit)

    async def _bind(self, pod: Object, node: str) -> None:
        meta = pod["metadata"]
        target = {"apiVersion": "v1", "kind": "Node", "name": node}
        body = {"apiVersion": "v1", "kind": "Binding", "target": target}
        body["metadata"] = {"name": meta["name"], "namespace": meta["namespace"], "uid": meta["uid"]}
        self._placed[meta["uid"]] = (node, pod)
        self._waiting.pop(meta["uid"], None)
        try:
            await self._client.call("POST", PODS.path(meta["namespace"], meta["name"], "binding"), body)
        except BaseException:
            self._placed.pop(meta["uid"], None)
            raise
        self._nominated.pop(meta["uid"], None)
        self._rooms[node].add(pod)
        text = f"Successfully assigned {meta['namespace']}/{meta['name']} to {node}"
        self._recorder.tell(pod, "Scheduled", text, kind="Pod")

    async def _make_room(self, pod: Object, refusals: dict[str, Refusal]) -> None:
        """Preempt where that helps, else say why the pod waits."""
        uid = pod["metadata"]["uid"]
        why = summary(count(refusals.values()), len(refusals))
        if not self._rooms:
            await self._refuse(pod, why)
            return
        nominated = self._nominated.get(uid, "")
        told = not_eligible(pod, self._rooms.get(nominated), refusals.get(nominated))
        budgets = list(self._budgets.items.values())
        found = told or plan(pod, self._rooms.values(), refusals, lambda room: self._check(pod, room), budgets)
        if isinstance(found, Plan):
            self._nominated[uid] = found.node
            await self._refuse(pod, why, found.node)
            for victim in found.victims:
                await self._preempt(victim, pod, found.node)
            asyncio.get_running_loop().call_later(LOOK_AGAIN_SECONDS, self._wake.set)
            return
        if not told:
            self._nominated.pop(uid, None)
        await self._refuse(pod, f"{why} no new claims to deallocate, preemption: {found}", nominated if told else "")

    async def _preempt(self, victim: Object, pod: Object, node: str) -> None:
        """Mark, then delete with the victim's own grace; a victim that has gone meanwhile was no loss."""
        meta = victim["metadata"]
        if "deletionTimestamp" not in meta:
            text = f"{NAME}: preempting to accommodate a higher priority pod"
            try:
                target = {"type": "DisruptionTarget", "status": "True", "reason": BY_SCHEDULER, "message": text}
                await set_pod_condition(self._client, victim, target)
                options = {"preconditions": {"uid": meta["uid"]}}
                await self._client.delete(PODS, meta["namespace"], meta["name"], options)
            except ApiError as error:
                if error.code in (404, 409):
                    return
                raise
        text = f"Preempted by pod {pod['metadata']['uid']} on node {node}"
        self._recorder.tell(victim, "Preempted", text, kind="Pod")

    async def _refuse(self, pod: Object, message: str, nominated: str = "") -> None:
        uid = pod["metadata"]["uid"]
        said, at = self._refused.get(uid, ("", 0.0))
        if said == message and time.monotonic() - at < RETRY_SECONDS:
            return
        self._refused[uid] = (message, time.monotonic())
        self._recorder.tell(pod, "FailedScheduling", message, kind="Pod", warning=True)
        if said == message:
            return
        entry = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}
        await set_pod_condition(self._client, pod, entry, {"nominatedNodeName": nominated or None})


def _queued(pod: Object) -> tuple[str, int]:
    return pod["metadata"]["creationTimestamp"], int(pod["metadata"]["resourceVersion"])
