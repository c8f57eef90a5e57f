"""Watches clusters and announces what it sees as `WorkloadObserved`.

One supervisor per process holds a lease per cluster; under each lease two threads list and watch Jobs and Pods. A
thread trusts the lease only until the moment it ends, so a process that hangs falls silent by itself.
"""

import os
import random
import socket
import threading
import time
import uuid
from collections.abc import Callable
from typing import Any

import structlog
from django.db import DatabaseError, close_old_connections, connections

from apps.core.errors import DomainError
from apps.core.events import publish

from . import gateway, labels, leases, selectors
from .events import WorkloadObserved
from .gateway import Gateway, Manifest, VersionExpired, WatchEvent
from .models import Cluster

PURPOSE = "watch"
KINDS = (("batch/v1", "Job"), ("v1", "Pod"))
LEASE_SECONDS = 15.0
RENEW_SECONDS = 5.0
TICK_SECONDS = 1.0
WATCH_SECONDS = 60  # short, so that a cluster given up is let go of soon though nothing happens on it
QUICK_SECONDS = 1.0  # a watch that ends sooner is followed by a pause: some proxy cuts them
LONGEST_BACK_OFF_SECONDS = 30.0
FAREWELL_SECONDS = 0.5  # an orderly end may take two; open watches cannot be hurried and are left behind

logger = structlog.get_logger(__name__)


def back_off(failures: int) -> float:
    """Seconds to wait after the n-th failure in a row: 1, 2, 4 … 30, less up to a half so that crowds spread."""
    return min(LONGEST_BACK_OFF_SECONDS, 2.0 ** min(failures - 1, 10)) * random.uniform(0.5, 1.0)  # noqa: S311


def new_holder() -> str:
    return f"{socket.gethostname()[:60]}:{os.getpid()}:{uuid.uuid4().hex[:8]}"


class KindWatch:
    """List, then watch, one kind of object on one cluster, for as long as `may_run` says so.

    `pause` waits the given seconds, or less when there is no point in going on.
    """

    def __init__(
        self,
        *,
        cluster_id: int,
        slug: str,
        api_version: str,
        kind: str,
        may_run: Callable[[], bool],
        pause: Callable[[float], object],
    ) -> None:
        self.cluster_id, self.api_version, self.kind = cluster_id, api_version, kind
        self.may_run, self.pause = may_run, pause
        self.log = logger.bind(cluster=slug, kind=kind)
        self.version = ""
        self.failures = 0
        self._api: Gateway | None = None
        self._known: dict[str, Manifest] = {}

    def run(self) -> None:
        """Until told to stop. Nothing that a cluster, a handler or the database does ends it."""
        self.log.info("watch_started")
        try:
            while self.may_run():
                self._round()
        finally:
            connections.close_all()  # this thread's own
            self.log.info("watch_stopped")

    def _round(self) -> None:
        started = time.monotonic()
        try:
            close_old_connections()
            api = self._connect()
            if not self.version:
                self._list(api)
            self._recovered()
            self._follow(api)
        except VersionExpired:
            self.log.info("watch_expired", version=self.version)
            self.version = ""
        except DomainError as error:
            self._failed(str(error))
        except Exception as error:
            self.log.exception("watch_failed")
            self._failed(type(error).__name__)
        else:
            if time.monotonic() - started < QUICK_SECONDS:
                self.pause(QUICK_SECONDS / 2)

    def _connect(self) -> Gateway:
        """The cluster as it is registered now; through another kubeconfig, versions seen before mean nothing."""
        api = gateway.connect(Cluster.objects.get(pk=self.cluster_id))
        if api is not self._api:
            self._api, self.version = api, ""
        return api

    def _list(self, api: Gateway) -> None:
        """Announce everything there is, and as deleted what went away while nobody watched."""
        found = api.list(self.api_version, self.kind, labels=labels.MANAGED)
        present = {manifest["metadata"]["uid"] for manifest in found.items}
        for uid in [uid for uid in self._known if uid not in present]:
            self._announce(self._known[uid], deleted=True)
        for manifest in found.items:
            self._announce(manifest, deleted=False)
        self.version = found.resource_version
        self.log.info("watch_listed", objects=len(found.items), version=self.version)

    def _follow(self, api: Gateway) -> None:
        for event in api.watch(
            self.api_version,
            self.kind,
            resource_version=self.version,
            labels=labels.MANAGED,
            timeout_seconds=WATCH_SECONDS,
        ):
            if not self.may_run():
                return
            self._take(event)

    def _take(self, event: WatchEvent) -> None:
        if event.type != "BOOKMARK":
            close_old_connections()
            self._announce(event.object, deleted=event.type == "DELETED")
        # Only now: what was not announced is asked for again.
        self.version = event.object["metadata"]["resourceVersion"]

    def _announce(self, manifest: Manifest, *, deleted: bool) -> None:
        if not self.may_run():
            raise LeaseEnded("The lease ended meanwhile.")
        meta = manifest["metadata"]
        if deleted:
            self._known.pop(meta["uid"], None)
        else:
            self._known[meta["uid"]] = _remains(manifest)
        held = meta.get("labels") or {}
        if not (held.get(labels.KIND) and held.get(labels.UID)):
            return
        publish(
            WorkloadObserved(
                cluster_id=self.cluster_id,
                kind=self.kind,
                namespace=meta.get("namespace", ""),
                name=meta["name"],
                workload_kind=held[labels.KIND],
                workload_uid=held[labels.UID],
                deleted=deleted,
                manifest=manifest,
            )
        )

    def _recovered(self) -> None:
        if self.failures:
            self.log.info("watch_resumed", after_failures=self.failures)
        self.failures = 0

    def _failed(self, why: str) -> None:
        if not self.may_run():
            return
        self.failures += 1
        if self.failures == 1:
            self.log.warning("watch_interrupted", error=why)
        self.pause(back_off(self.failures))


class LeaseEnded(DomainError):
    """Somebody else may be announcing by now."""

    code = "lease_ended"


def _remains(manifest: Manifest) -> Manifest:
    """What is kept to tell of a deletion nobody saw: not the whole object, there may be very many."""
    meta = {key: value for key, value in manifest["metadata"].items() if key != "managedFields"}
    spec: Manifest = {key: value for key, value in (manifest.get("spec") or {}).items() if key == "nodeName"}
    head: Manifest = {key: manifest[key] for key in ("apiVersion", "kind") if key in manifest}
    return {**head, "metadata": meta, "spec": spec, "status": manifest.get("status") or {}}


class ClusterWatch:
    """The threads of one cluster, and the lease they run under."""

    def __init__(self, *, cluster_id: int, slug: str) -> None:
        self.cluster_id, self.slug = cluster_id, slug
        self._stopped = threading.Event()
        self._lease_ends = 0.0
        self.renew_at = 0.0
        self._threads = [self._thread(api_version, kind) for api_version, kind in KINDS]

    def renewed(self, at: float) -> None:
        """The lease was taken or renewed; `at` is the monotonic time before it was asked for."""
        self._lease_ends, self.renew_at = at + LEASE_SECONDS, at + RENEW_SECONDS

    def may_run(self) -> bool:
        return not self._stopped.is_set() and time.monotonic() < self._lease_ends

    def is_alive(self) -> bool:
        return self.may_run() and all(thread.is_alive() for thread in self._threads)

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stopped.set()

    def join(self, deadline: float) -> None:
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))

    def _thread(self, api_version: str, kind: str) -> threading.Thread:
        watch = KindWatch(
            cluster_id=self.cluster_id,
            slug=self.slug,
            api_version=api_version,
            kind=kind,
            may_run=self.may_run,
            pause=self._stopped.wait,
        )
        # A daemon: an open watch cannot be interrupted, and must not hold up the end of the process.
        return threading.Thread(target=watch.run, name=f"watch-{self.slug}-{kind}", daemon=True)


class Watcher:
    """Keeps a `ClusterWatch` running for every enabled cluster whose lease this process can get."""

    def __init__(self, *, stop: threading.Event, only: str = "", holder: str = "") -> None:
        self.stop, self.only, self.holder = stop, only, holder or new_holder()
        self.running: dict[int, ClusterWatch] = {}
        self._asked: dict[int, float] = {}

    def run(self) -> None:
        """Until `stop` is set; then within two seconds."""
        logger.info("watcher_started", holder=self.holder, only=self.only or "all clusters")
        try:
            while not self.stop.is_set():
                try:
                    self.tick()
                except DatabaseError as error:  # It may come back; meanwhile the leases run out, as they should.
                    logger.warning("watcher_without_database", error=type(error).__name__)
                self.stop.wait(TICK_SECONDS)
        finally:
            self._say_farewell()

    def tick(self) -> None:
        """Look once: begin with clusters that appeared, let go of those that went, renew what is held."""
        close_old_connections()
        wanted = self._wanted()
        for cluster_id in [pk for pk in self.running if pk not in wanted]:
            self._let_go(cluster_id, "cluster_not_enabled")
        for cluster_id, slug in wanted.items():
            self._care_for(cluster_id, slug)

    def _wanted(self) -> dict[int, str]:
        clusters = selectors.usable_clusters()
        if self.only:
            clusters = clusters.filter(slug=self.only)
        return dict(clusters.values_list("pk", "slug"))

    def _care_for(self, cluster_id: int, slug: str) -> None:
        now = time.monotonic()
        watch = self.running.get(cluster_id)
        if watch and not watch.is_alive():
            self._let_go(cluster_id, "watch_died")
            watch = None
        due = watch.renew_at if watch else self._asked.get(cluster_id, 0.0)
        if now < due:
            return
        self._asked[cluster_id] = now + RENEW_SECONDS
        if not leases.acquire(cluster_id, PURPOSE, self.holder, LEASE_SECONDS):
            self._let_go(cluster_id, "lease_lost")
            return
        if watch is None:
            watch = self.running[cluster_id] = ClusterWatch(cluster_id=cluster_id, slug=slug)
            watch.renewed(now)
            watch.start()
            logger.info("lease_taken", cluster=slug)
        watch.renewed(now)

    def _let_go(self, cluster_id: int, why: str) -> None:
        watch = self.running.pop(cluster_id, None)
        if watch is not None:
            watch.stop()
            leases.release(cluster_id, PURPOSE, self.holder)
            logger.info(why, cluster=watch.slug)

    def _say_farewell(self) -> None:
        deadline = time.monotonic() + FAREWELL_SECONDS
        for watch in self.running.values():
            watch.stop()
        for watch in self.running.values():
            watch.join(deadline)
        try:
            for cluster_id in [*self.running]:
                self._let_go(cluster_id, "lease_released")
        except DatabaseError as error:  # Then they run out by themselves.
            logger.warning("watcher_without_database", error=type(error).__name__)
        logger.info("watcher_stopped", holder=self.holder)


def stop_on(event: threading.Event) -> Callable[[int, Any], None]:
    """A signal handler that asks for an orderly end."""

    def handler(_signal: int, _frame: Any) -> None:
        event.set()

    return handler
