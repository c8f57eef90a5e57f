"""The collector of one cluster: sees every pod of every job, holds one follow per container run.

It runs while it holds the cluster's lease. Killing it at any moment loses and doubles nothing: the files are the
cursors, and whoever takes over asks again from where they end.
"""

import asyncio
import contextlib
import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import structlog
from channels.db import database_sync_to_async

from apps.clusters import gateway, labels, leases
from apps.clusters.gateway import Manifest, Streams, WatchEvent
from apps.clusters.models import Cluster
from apps.jobs.models import Job
from apps.jobs.selectors import clusters_in_use
from apps.quotas.selectors import namespace_name

from . import hot, selectors, services, store
from .following import Follower, Sight
from .models import LogStream
from .services import ContainerRun

PURPOSE = "logs"
LEASE_SECONDS = 20
RENEW_SECONDS = 5
TICK_SECONDS = 1.0
LOOK_FOR_ORPHANS_SECONDS = 60
TROUBLE_SECONDS = 5  # after this what failed is tried again
SETTLE_SECONDS = 20  # after this every pod that exists has been seen
FOLLOWS_AT_ONCE = 1000
INDEX = "batch.kubernetes.io/job-completion-index"
SELECTED = {**labels.MANAGED, labels.KIND: "job"}
Key = tuple[str, str, int]  # pod uid, container, restart
logger = structlog.get_logger(__name__)


@dataclass(frozen=True)
class ContainerState:
    name: str
    restart: int
    is_dead: bool
    has_previous: bool


def container_states(pod: Manifest) -> Iterator[ContainerState]:
    """The containers of a pod that have, or had, a log: init containers first.

    A container that waits to be restarted still counts as its last instance, which is what the node serves then.
    """
    status = pod.get("status") or {}
    for statuses in ("initContainerStatuses", "containerStatuses", "ephemeralContainerStatuses"):
        for each in status.get(statuses) or ():
            state, last = each.get("state") or {}, each.get("lastState") or {}
            is_running, was_terminated = state.get("running") is not None, last.get("terminated") is not None
            if is_running or was_terminated or state.get("terminated") is not None:
                yield ContainerState(
                    name=each["name"],
                    restart=int(each.get("restartCount") or 0),
                    is_dead=not is_running,
                    has_previous=was_terminated and state.get("waiting") is None,
                )


class Collector:
    def __init__(self, cluster: Cluster, streams: Streams, publisher: hot.Publisher) -> None:
        self._cluster, self._streams, self._publisher = cluster, streams, publisher
        self._sights: dict[Key, Sight] = {}
        self._followers: dict[Key, Follower] = {}
        self._tasks: dict[Key, asyncio.Task[None]] = {}
        self._done: set[Key] = set()
        self._pods: dict[str, Manifest] = {}
        self._names: dict[tuple[str, str], str] = {}
        self._jobs: dict[str, Job | None] = {}
        self._slots = asyncio.Semaphore(FOLLOWS_AT_ONCE)
        # The watch and `_adopt` both open streams, and wait for the database in between: without turns they would make
        # two followers of one file, and the one the tables forgot would hold its lock and never hear of the end.
        self._turn = asyncio.Lock()
        self._trouble = asyncio.Event()

    async def run(self) -> None:
        """Until cancelled."""
        helpers = [asyncio.create_task(self._tick_for_ever()), asyncio.create_task(self._adopt_for_ever())]
        try:
            async for event in self._streams.pod_events(labels=SELECTED):
                async with self._turn:
                    await self._try_to_see(event)
        finally:
            for task in (*helpers, *self._tasks.values()):
                task.cancel()
            await asyncio.gather(*helpers, *self._tasks.values(), return_exceptions=True)
            with contextlib.suppress(Exception):  # The next holder finds the files as they are.
                await self._tick()

    # -- pods --------------------------------------------------------------------------------------------------------
    async def _try_to_see(self, event: WatchEvent) -> None:
        """One pod's trouble stays its own: a job deleted meanwhile, a database away. `_adopt` looks at it again."""
        try:
            await self._see(event)
        except store.UnsafePath as error:
            logger.warning("log_of_strange_pod_refused", error=str(error))
        except Exception:
            logger.exception("log_pod_event_failed")
            self._jobs.clear()
            self._trouble.set()

    async def _see(self, event: WatchEvent) -> None:
        pod = event.object
        meta = pod["metadata"]
        uid, place = meta["uid"], (meta["namespace"], meta["name"])
        self._forget_job_if_missing(pod)
        if event.type == "DELETED":
            self._pods.pop(uid, None)
            if self._names.get(place) == uid:
                del self._names[place]
            self._tell(uid, is_gone=True, is_leaving=True)
            self._done = {key for key in self._done if key[0] != uid}
            self._jobs.pop((meta.get("labels") or {}).get(labels.UID, ""), None)
            return
        if (before := self._names.get(place)) not in (None, uid):
            self._tell(before, is_gone=True, is_replaced=True)
        self._names[place], self._pods[uid] = uid, pod
        job = await self._job_of(pod)
        if job is None:
            return
        if meta.get("deletionTimestamp"):
            self._tell(uid, is_leaving=True)
        for state in container_states(pod):
            await self._follow(job, pod, state)

    async def _follow(self, job: Job, pod: Manifest, state: ContainerState) -> None:
        run = run_of(pod, state.name, state.restart)
        for (uid, container, restart), sight in self._sights.items():
            if (uid, container) == (run.pod_uid, run.container) and restart < run.restart:
                sight.newer_restarts = run.restart - restart
                sight.is_dead = True
                sight.changed.set()
        if state.has_previous and state.restart:
            await self._ensure(job, run_of(pod, state.name, state.restart - 1), is_dead=True, newer_restarts=1)
        await self._ensure(job, run, is_dead=state.is_dead)

    async def _ensure(self, job: Job, run: ContainerRun, *, is_dead: bool, newer_restarts: int = 0) -> None:
        """One follower per container run, whatever the number of events that speak of it."""
        key = (run.pod_uid, run.container, run.restart)
        if key in self._done:
            return
        if sight := self._sights.get(key):
            if is_dead and not sight.is_dead:
                sight.is_dead = True
                sight.changed.set()
            return
        row = await database_sync_to_async(services.open_stream)(job=job, run=run)
        if row.is_complete:
            self._done.add(key)
            return
        sight = self._sights[key] = Sight(run, is_dead=is_dead, newer_restarts=newer_restarts)
        follower = Follower(
            streams=self._streams, sight=sight, row=row, job_uid=str(job.uid), publisher=self._publisher
        )
        self._followers[key] = follower
        self._publisher.offer(job.uid, hot.news(row.pk))
        self._tasks[key] = asyncio.create_task(self._run(key, follower))

    async def _run(self, key: Key, follower: Follower) -> None:
        async with self._slots:
            try:
                await follower.run()
            except asyncio.CancelledError:
                raise
            except Exception:
                logger.exception("log_follower_failed", key=key)

    def _tell(self, pod_uid: str, **news: bool) -> None:
        for (uid, _, _), sight in self._sights.items():
            if uid == pod_uid:
                for name, value in news.items():
                    setattr(sight, name, value)
                sight.changed.set()

    # -- jobs --------------------------------------------------------------------------------------------------------
    async def _job_of(self, pod: Manifest) -> Job | None:
        """The job a pod's labels name, if it may be so: labels can be forged, the project's namespace cannot."""
        uid = (pod["metadata"].get("labels") or {}).get(labels.UID, "")
        if uid not in self._jobs:
            self._jobs[uid] = await database_sync_to_async(self._find_job)(uid)
        job = self._jobs[uid]
        return job if job is not None and namespace_name(job.project) == pod["metadata"]["namespace"] else None

    def _find_job(self, uid: str) -> Job | None:
        try:
            return Job.objects.select_related("project").filter(uid=UUID(uid), cluster_id=self._cluster.pk).first()
        except ValueError:
            return None

    def _forget_job_if_missing(self, pod: Manifest) -> None:
        uid = (pod["metadata"].get("labels") or {}).get(labels.UID, "")
        if self._jobs.get(uid, uid) is None:
            del self._jobs[uid]

    # -- books -------------------------------------------------------------------------------------------------------
    async def _tick_for_ever(self) -> None:
        while True:
            await asyncio.sleep(TICK_SECONDS)
            try:
                await self._tick()
            except Exception:
                logger.exception("log_progress_not_recorded")

    async def _tick(self) -> None:
        """Bring the rows up to date with the files, all in one transaction, and let go of what is complete."""
        dirty = {key: each for key, each in self._followers.items() if each.is_dirty}
        if dirty:
            for each in dirty.values():
                each.is_dirty = False
            progress = [each.progress for each in dirty.values()]
            try:
                await database_sync_to_async(services.record_progress)(progress=progress)
            except BaseException:
                for each in dirty.values():
                    each.is_dirty = True
                raise
        for key, each in dirty.items():
            if each.is_complete and not each.is_dirty:
                self._publisher.offer(each.job_uid, hot.news(each.progress.stream))
                self._close_books(key)
        for key in [key for key, task in self._tasks.items() if task.done() and not self._followers[key].is_complete]:
            self._close_books(key, is_done=False)  # It failed: the next sight of the pod tries again.
            self._trouble.set()

    def _close_books(self, key: Key, *, is_done: bool = True) -> None:
        for table in (self._followers, self._sights, self._tasks):
            table.pop(key, None)
        if is_done and key[0] in self._pods:  # Nobody speaks of the others any more.
            self._done.add(key)

    async def _adopt_for_ever(self) -> None:
        await asyncio.sleep(SETTLE_SECONDS)
        while True:
            self._trouble.clear()
            try:
                await self._adopt()
            except Exception:
                logger.exception("log_orphans_not_adopted")
                self._trouble.set()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_FOR_ORPHANS_SECONDS):
                    await self._trouble.wait()
                    await asyncio.sleep(TROUBLE_SECONDS)

    async def _adopt(self) -> None:
        """Close what was left open by a collector before us: streams whose pod is gone, or whose follower failed."""
        for uid in list(self._pods):
            async with self._turn:
                if pod := self._pods.get(uid):  # As it is now: it may have gone while we waited.
                    await self._try_to_see(WatchEvent("MODIFIED", pod))
        rows = await database_sync_to_async(lambda: list(selectors.incomplete_on(self._cluster.pk)))()
        for row in rows:
            async with self._turn:
                await self._adopt_stream(row)

    async def _adopt_stream(self, row: LogStream) -> None:
        run = ContainerRun(
            namespace=namespace_name(row.job.project),
            pod_name=row.pod_name,
            pod_uid=row.pod_uid,
            container=row.container,
            restart=row.restart,
            attempt=row.attempt_number,
            rank=row.rank,
        )
        key = (run.pod_uid, run.container, run.restart)
        if key in self._sights or key in self._done:
            return
        newest = max((restart for uid, container, restart in self._sights if (uid, container) == key[:2]), default=0)
        newer = max(0, newest - run.restart)
        await self._ensure(row.job, run, is_dead=newer > 0, newer_restarts=newer)
        if run.pod_uid not in self._pods and key in self._sights:
            holder = self._names.get((run.namespace, run.pod_name))
            self._sights[key].is_gone = True
            self._sights[key].is_replaced = holder is not None and holder != run.pod_uid


def run_of(pod: Manifest, container: str, restart: int) -> ContainerRun:
    meta = pod["metadata"]
    held, noted = meta.get("labels") or {}, meta.get("annotations") or {}
    return ContainerRun(
        namespace=meta["namespace"],
        pod_name=meta["name"],
        pod_uid=meta["uid"],
        container=container,
        restart=restart,
        attempt=_whole(held.get(labels.ATTEMPT)) or 1,
        rank=_whole(noted.get(INDEX, held.get(INDEX))),
    )


def _whole(text: Any) -> int | None:
    return int(text) if isinstance(text, str) and text.isascii() and text.isdigit() and len(text) < 6 else None


# -- the process -----------------------------------------------------------------------------------------------------
class Warden:
    """Holds what leases it can get and collects their clusters, until cancelled."""

    def __init__(self, *, holder: str = "") -> None:
        self.holder = holder or f"{socket.gethostname()[:60]}-{os.getpid()}"
        self._running: dict[int, tuple[str, asyncio.Task[None]]] = {}

    async def run(self) -> None:
        publisher = hot.Publisher()
        try:
            while True:
                try:
                    await self._round(publisher)
                except Exception:  # The database may be away for a while; leases then run out by themselves.
                    logger.exception("log_leases_not_renewed")
                    await self._stop(*self._running)
                await asyncio.sleep(RENEW_SECONDS)
        finally:
            held = list(self._running)
            await self._stop(*held)
            for cluster in await database_sync_to_async(lambda: list(Cluster.objects.filter(pk__in=held)))():
                await database_sync_to_async(leases.release)(cluster, PURPOSE, self.holder)
            await publisher.close()

    async def _round(self, publisher: hot.Publisher) -> None:
        clusters = await database_sync_to_async(lambda: list(clusters_in_use()))()
        kept = set()
        for cluster in clusters:
            if not await database_sync_to_async(leases.acquire)(cluster, PURPOSE, self.holder, LEASE_SECONDS):
                continue
            kept.add(cluster.pk)
            kubeconfig, task = self._running.get(cluster.pk, ("", None))
            if task is not None and (task.done() or kubeconfig != cluster.kubeconfig):
                await self._stop(cluster.pk)
            if cluster.pk not in self._running:
                task = asyncio.create_task(self._collect(cluster, publisher))
                self._running[cluster.pk] = (cluster.kubeconfig, task)
        await self._stop(*(set(self._running) - kept))

    async def _collect(self, cluster: Cluster, publisher: hot.Publisher) -> None:
        """One cluster's trouble stays its own: it is tried again in the next round."""
        try:
            streams = gateway.open_streams(cluster)
            try:
                await Collector(cluster, streams, publisher).run()
            finally:
                await streams.close()
        except asyncio.CancelledError:
            raise
        except Exception:
            logger.exception("log_collector_failed", cluster=cluster.slug)

    async def _stop(self, *cluster_ids: int) -> None:
        tasks = [self._running.pop(each)[1] for each in cluster_ids if each in self._running]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
