"""The process that collects: a collector for each cluster whose lease it holds."""

import asyncio
import os
import socket

import structlog
from channels.db import database_sync_to_async

from apps.clusters import gateway, leases
from apps.clusters.models import Cluster
from apps.jobs.selectors import clusters_in_use

from . import compaction, hot
from .collector import Collector

PURPOSE = "logs"
LEASE_SECONDS = 20
RENEW_SECONDS = 5
SWEEP_SECONDS = 30.0
logger = structlog.get_logger(__name__)


class Warden:
    """Holds what leases it can get and collects their clusters, until cancelled."""

    def __init__(self, *, holder: str = "") -> None:
        self.holder = holder or f"{socket.gethostname()[:60]}-{os.getpid()}"
        self._running: dict[int, tuple[str, asyncio.Task[None]]] = {}

    async def run(self) -> None:
        publisher = hot.Publisher()
        sweeping = asyncio.create_task(_sweep_for_ever())
        try:
            while True:
                try:
                    await self._round(publisher)
                except Exception:  # The database may be away for a while; leases then run out by themselves.
                    logger.exception("log_leases_not_renewed")
                    await self._stop(*self._running)
                await asyncio.sleep(RENEW_SECONDS)
        finally:
            sweeping.cancel()
            await asyncio.gather(sweeping, return_exceptions=True)
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
                await Collector(cluster, streams, publisher, holder=self.holder).run()
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


async def _sweep_for_ever() -> None:
    """Delete what nothing names any more. Every collector may: deleting what is gone is fine."""
    while True:
        await asyncio.sleep(SWEEP_SECONDS)
        try:
            for sweep in (compaction.remove_garbage, compaction.remove_orphans):
                await database_sync_to_async(sweep, thread_sensitive=False)()
        except Exception:
            logger.exception("log_garbage_not_removed")
