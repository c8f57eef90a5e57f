"""What control loops share: times, a keyed work queue, and the recorder of events."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

import aiohttp

from apps.devcluster.client import EVENTS, PODS, STRATEGIC_PATCH, ApiError, Client, Object

log = logging.getLogger(__name__)

Key = tuple[str, str]
Reconcile = Callable[[str, str], Awaitable[float | None]]
RETRY_SECONDS = (0.05, 10.0)
MOST_REMEMBERED = 4096  # events whose repetitions are counted


def rfc3339(seconds: float) -> str:
    """Seconds since the epoch as Kubernetes writes them: whole seconds, UTC."""
    return datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def now() -> str:
    """This moment as Kubernetes writes it."""
    return rfc3339(datetime.now(UTC).timestamp())


def seconds_of(text: str) -> float:
    """Seconds since the epoch."""
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


async def set_pod_condition(client: Client, pod: Object, entry: Object, status: Object | None = None) -> None:
    """Set one condition (`entry`: type, status, reason, message) and other fields of a pod's status, leaving alone
    the conditions that others, the kubelet above all, may be writing.
    """
    meta = pod["metadata"]
    known = (pod.get("status") or {}).get("conditions") or ()
    same = next((c for c in known if (c["type"], c["status"]) == (entry["type"], entry["status"])), None)
    full = entry | {"observedGeneration": meta.get("generation", 1), "lastProbeTime": None}
    full["lastTransitionTime"] = same["lastTransitionTime"] if same else now()
    body = {"metadata": {"uid": meta["uid"]}, "status": {**(status or {}), "conditions": [full]}}
    path = PODS.path(meta["namespace"], meta["name"], "status")
    await client.call("PATCH", path, body, kind=STRATEGIC_PATCH)


class WorkQueue:
    """Runs `reconcile(namespace, name)` for keys: one at a time per key, again if asked meanwhile, later on
    errors.

    `reconcile` may return seconds after which the key is due again.
    """

    def __init__(self, reconcile: Reconcile, workers: int = 4) -> None:
        self._reconcile, self._slots = reconcile, asyncio.Semaphore(workers)
        self._running: set[Key] = set()
        self._again: set[Key] = set()
        self._timers: dict[Key, asyncio.TimerHandle] = {}
        self._failures: dict[Key, int] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def add(self, namespace: str, name: str) -> None:
        """Look at this key soon."""
        key = (namespace, name)
        if key in self._running:
            self._again.add(key)
            return
        self._running.add(key)
        task = asyncio.get_running_loop().create_task(self._work(key))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def add_later(self, key: Key, seconds: float) -> None:
        """Look at this key after a while; the earliest wish wins."""
        loop = asyncio.get_running_loop()
        timer = self._timers.get(key)
        if timer is not None and timer.when() <= loop.time() + seconds:
            return
        if timer is not None:
            timer.cancel()
        self._timers[key] = loop.call_later(seconds, self._due, key)

    def _due(self, key: Key) -> None:
        self._timers.pop(key, None)
        self.add(*key)

    async def _work(self, key: Key) -> None:
        async with self._slots:
            try:
                later = await self._reconcile(*key)
                self._failures.pop(key, None)
            except (ApiError, aiohttp.ClientError, OSError) as error:
                later = self._back_off(key)
                log.debug("%s/%s again in %.2f s: %s", *key, later, error)
            except Exception:
                later = self._back_off(key)
                log.exception("reconciling %s/%s failed", *key)
        self._running.discard(key)
        if key in self._again:
            self._again.discard(key)
            self.add(*key)
        if later is not None:
            self.add_later(key, later)

    def _back_off(self, key: Key) -> float:
        self._failures[key] = count = min(self._failures.get(key, 0) + 1, 20)
        return min(RETRY_SECONDS[1], RETRY_SECONDS[0] * 2**count)

    def close(self) -> None:
        """Drop all timers and work."""
        for timer in self._timers.values():
            timer.cancel()
        for task in self._tasks:
            task.cancel()


class Recorder:
    """Writes Events as the named component, in the background: nobody waits for an Event and none may fail
    a loop.
    """

    def __init__(self, client: Client, component: str, instance: str = "") -> None:
        self._client, self._component, self._instance = client, component, instance
        self._counts: dict[tuple[str | None, ...], tuple[str, int]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def tell(
        self,
        obj: Object,
        reason: str,
        message: str,
        *,
        kind: str,
        warning: bool = False,
        field_path: str | None = None,
        host: str | None = None,
    ) -> None:
        """Record one event; the same words about the same object raise its count."""
        meta = obj["metadata"]
        namespace, at = meta.get("namespace") or "default", now()
        involved = {"kind": kind, "apiVersion": obj.get("apiVersion", "v1"), "namespace": namespace}
        involved |= {"name": meta["name"], "uid": meta["uid"], "resourceVersion": meta.get("resourceVersion", "")}
        event = {
            "metadata": {"name": f"{meta['name']}.{secrets.token_hex(8)}", "namespace": namespace},
            "involvedObject": involved | ({"fieldPath": field_path} if field_path else {}),
            "reason": reason,
            "message": message,
            "source": {"component": self._component} | ({"host": host} if host else {}),
            "firstTimestamp": at,
            "lastTimestamp": at,
            "count": 1,
            "type": "Warning" if warning else "Normal",
            "eventTime": None,
            "reportingComponent": self._component,
            "reportingInstance": host or self._instance,
        }
        task = asyncio.get_running_loop().create_task(self._write((meta["uid"], reason, message, field_path), event))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _write(self, key: tuple[str | None, ...], event: Object) -> None:
        name, count = self._counts.get(key, (event["metadata"]["name"], 0))
        self._counts[key] = (name, count + 1)
        if len(self._counts) > MOST_REMEMBERED:
            del self._counts[next(iter(self._counts))]
        namespace = event["metadata"]["namespace"]
        with contextlib.suppress(ApiError, aiohttp.ClientError, OSError):
            if count:
                again = {"count": count + 1, "lastTimestamp": event["lastTimestamp"]}
                await self._client.patch(EVENTS, namespace, name, again)
            else:
                await self._client.create(EVENTS, namespace, event)
