"""The collector of one cluster: sees every pod of every job, holds one follow per container run.

It runs while it holds the cluster's lease. Killing it at any moment loses and doubles nothing: the rows are the
cursors, and whoever takes over asks again from where they end."""

import asyncio
import contextlib
import re
import time
from collections import Counter
from collections.abc import Callable
from uuid import UUID

import structlog
from channels.db import database_sync_to_async
from django.conf import settings

from apps.clusters import labels
from apps.clusters.gateway import Manifest, Streams, WatchEvent
from apps.clusters.models import Cluster
from apps.jobs.models import Job
from apps.quotas.selectors import namespace_name

from . import compaction, hot, masking, selectors, services
from .budget import Budget
from .counters import Counters
from .following import Desk, Follower, Masker, Pace, Pulse, Sight
from .journal import Journal
from .models import LogStream
from .pods import ContainerState, container_states, run_of
from .services import ContainerRun

TICK_SECONDS = 1.0
JOINS_AT_ONCE = 50
LOOK_FOR_ORPHANS_SECONDS = 60
TROUBLE_SECONDS = 5  # after this what failed is tried again
SETTLE_SECONDS = 20  # after this every pod that exists has been seen
FOLLOWS_A_NODE = 100  # each holds one of a node's 128 inotify instances
JOIN_SECONDS = 2.0  # between looks for segments to join
REPORT_SECONDS = 5.0
MASKER_SECONDS = 60.0  # the pods of a job start together: what is masked in one is asked once
SELECTED = {**labels.MANAGED, labels.KIND: "job"}
POD_UID = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,35})")
Key = tuple[str, str, int]  # pod uid, container, restart
logger = structlog.get_logger(__name__)


class Collector:
    def __init__(
        self,
        cluster: Cluster,
        streams: Streams,
        publisher: hot.Publisher,
        *,
        masker_for: Callable[[Job], Masker] = masking.masker_for,
        holder: str = "",
    ) -> None:
        self._cluster, self._publisher, self._holder = cluster, publisher, holder
        self._masker_for, self._maskers = masker_for, dict[int, tuple[float, Masker]]()
        self.counters = Counters()
        self._journal = Journal(self.counters)
        budget = Budget(settings.CUBE_LOG_REQUESTS_PER_SECOND, self.counters)
        self._desk = Desk(
            streams,
            self._journal,
            publisher,
            budget,
            self.counters,
            Pace(),
            Pulse(settings.CUBE_LOG_ROTATION_SECONDS / 10),
        )
        self._sights: dict[Key, Sight] = {}
        self._followers: dict[Key, Follower] = {}
        self._tasks: dict[Key, asyncio.Task[None]] = {}
        self._probes: set[asyncio.Task[None]] = set()
        self._done: set[Key] = set()
        self._pods: dict[str, Manifest] = {}
        self._names: dict[tuple[str, str], str] = {}
        self._jobs: dict[str, Job | None] = {}
        # The watch and `_adopt` both open streams, and wait for the database in between: without turns they would make
        # two followers of one stream, of which the one that the tables forgot would never hear of the end.
        self._turn = asyncio.Lock()
        self._trouble = asyncio.Event()

    async def run(self) -> None:
        """Until cancelled."""
        journal = asyncio.create_task(self._journal.run())
        duties = self._tick_for_ever(), self._adopt_for_ever(), self._join_for_ever(), self._report_for_ever()
        helpers = [asyncio.create_task(each) for each in duties]
        try:
            async for event in self._desk.streams.pod_events(labels=SELECTED):
                async with self._turn:
                    await self._try_to_see(event)
        finally:
            for task in (*helpers, *self._probes, *self._tasks.values()):
                task.cancel()
            await asyncio.gather(*helpers, *self._probes, *self._tasks.values(), return_exceptions=True)
            journal.cancel()
            await asyncio.gather(journal, return_exceptions=True)
            with contextlib.suppress(Exception):  # What is not stored now is asked for again by the next holder.
                await self._journal.commit()

    # -- pods --------------------------------------------------------------------------------------------------------
    async def _try_to_see(self, event: WatchEvent) -> None:
        """One pod's trouble stays its own: a job deleted meanwhile, a database away. `_adopt` looks at it again."""
        try:
            await self._see(event)
        except Exception:
            logger.exception("log_pod_event_failed")
            self._jobs.clear()
            self._trouble.set()

    async def _see(self, event: WatchEvent) -> None:
        pod = event.object
        meta = pod["metadata"]
        if not POD_UID.fullmatch(meta["uid"]):
            logger.warning("log_of_strange_pod_refused", uid=meta["uid"][:100])
            return
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
        await self._ensure(job, run, is_dead=state.is_dead, has_failed=state.has_failed)

    async def _ensure(
        self, job: Job, run: ContainerRun, *, is_dead: bool, has_failed: bool = False, newer_restarts: int = 0
    ) -> None:
        """One follower per container run, whatever the number of events that speak of it."""
        key = (run.pod_uid, run.container, run.restart)
        if key in self._done:
            return
        if sight := self._sights.get(key):
            sight.has_failed |= has_failed
            if is_dead and not sight.is_dead:
                sight.is_dead = True
                sight.changed.set()
            return
        row, masker = await database_sync_to_async(self._open)(job, run)
        if row.is_complete:
            self._done.add(key)
            return
        sight = Sight(run, is_dead=is_dead, has_failed=has_failed, newer_restarts=newer_restarts)
        self._sights[key] = sight
        follower = Follower(desk=self._desk, sight=sight, row=row, job_uid=str(job.uid), masker=masker)
        self._followers[key] = follower
        self._publisher.offer(job.uid, hot.news(row.pk))
        self._tasks[key] = asyncio.create_task(self._run(key, follower))

    def _open(self, job: Job, run: ContainerRun) -> tuple[LogStream, Masker]:
        """Raises Undecryptable: what must not be read is not known then, and nothing may be stored."""
        now = time.monotonic()
        self._maskers = {pk: known for pk, known in self._maskers.items() if now - known[0] < MASKER_SECONDS}
        if job.pk not in self._maskers:
            self._maskers[job.pk] = (now, self._masker_for(job))
        return services.open_stream(job=job, run=run), self._maskers[job.pk][1]

    async def _run(self, key: Key, follower: Follower) -> None:
        try:
            await follower.run()
        except asyncio.CancelledError:
            raise
        except Exception:
            logger.exception("log_follower_failed", key=key)
        finally:
            if follower.tail.is_lost:
                self._journal.forget(follower.tail)

    def _share_nodes(self) -> None:
        """A node has room for so many follows; beyond that the less urgent containers are read once a second."""
        held: Counter[str] = Counter()
        for sight in sorted(self._sights.values(), key=lambda each: each.priority):
            held[sight.run.node] += 1
            sight.may_follow = not sight.run.node or held[sight.run.node] <= FOLLOWS_A_NODE

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
                self._tick()
            except Exception:
                logger.exception("log_collector_tick_failed")

    def _tick(self) -> None:
        """Watch over the followers, and let go of those that are done."""
        now = time.monotonic()
        for follower in self._followers.values():
            if follower.tail.is_lost or follower.is_hopeless(now):
                follower.interrupt()
            elif follower.is_due_for_probe(now):
                probe = asyncio.create_task(follower.probe())
                self._probes.add(probe)
                probe.add_done_callback(self._probes.discard)
        for key in [key for key, task in self._tasks.items() if task.done()]:
            follower = self._followers[key]
            if follower.is_complete:
                self._publisher.offer(follower.tail.job_uid, hot.news(follower.tail.stream))
            else:  # It failed, or was taken from us: the next sight of the pod tries again.
                self._trouble.set()
            self._close_books(key, is_done=follower.is_complete)
        self._share_nodes()
        self._note_state()

    def _note_state(self) -> None:
        counters, followers = self.counters, self._followers.values()
        counters.following = sum(each.is_following for each in followers)
        counters.polling = sum(each.is_polling for each in followers)
        counters.waiting = len(followers) - counters.following
        counters.lag_seconds = round(max((each.lag for each in followers), default=0.0), 3)
        self._desk.budget.note_use()

    async def _report_for_ever(self) -> None:
        while True:
            await asyncio.sleep(REPORT_SECONDS)
            try:
                await database_sync_to_async(services.record_report)(
                    cluster=self._cluster, holder=self._holder, counters=vars(self.counters)
                )
            except Exception:
                logger.exception("log_collector_report_not_kept")

    async def _join_for_ever(self) -> None:
        while True:
            await asyncio.sleep(JOIN_SECONDS)
            try:
                for stream_id in await database_sync_to_async(self._due)():
                    begun = time.monotonic()
                    await database_sync_to_async(compaction.join_segments, thread_sensitive=False)(stream_id=stream_id)
                    await asyncio.sleep(time.monotonic() - begun)  # Live lines go first: half the time is theirs alone.
            except Exception:
                logger.exception("log_segments_not_joined")

    def _due(self) -> list[int]:
        return list(compaction.due(self._cluster.pk).values_list("pk", flat=True)[:JOINS_AT_ONCE])

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
