"""Ships every stored record to the site's own log system, at least once and in order within a stream.

It reads the store by a cursor of its own per stream, so it neither slows collecting nor loses anything while the sink
is away: the store keeps, the cursor waits. A record is sent again only when a sink took it and its answer was lost.
"""

import random
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime

import structlog
from django.db import DatabaseError
from django.utils import timezone

from apps.clusters import leases
from apps.jobs.selectors import clusters_in_use

from . import selectors, services, store
from .lines import KIND_WORDS
from .models import LogStream
from .sinks import Refused, Shipped, Sink, SinkError
from .sinks.base import Labels

PURPOSE = "ship-logs"
LEASE_SECONDS = 60  # longer than one request to a sink may take
ROUND_SECONDS = 1.0
REPORT_SECONDS = 5.0
STREAMS_A_ROUND = 500
LINES_A_STREAM = 20_000  # in a round, so that one loud pod does not keep the others waiting
BATCH_RECORDS = 5000
BATCH_BYTES = 2 * 1024 * 1024
LONGEST_PAUSE_SECONDS = 30.0
logger = structlog.get_logger(__name__)


class LostLease(Exception):
    """Somebody else ships this cluster now."""


@dataclass
class Counters:
    """Of one cluster since this process started."""

    sent_records: int = 0
    sent_bytes: int = 0
    failures: int = 0
    refused: int = 0
    problem: str = ""
    oldest: str = ""  # stamp of the next record to be sent
    reported: float = field(default=-1e9)


class Shipper:
    """Ships the clusters whose lease it gets, until `stop` is set."""

    def __init__(self, sink: Sink, *, holder: str, stop: threading.Event) -> None:
        self._sink, self._holder, self._stop = sink, holder, stop
        self._counters: dict[int, Counters] = {}

    def run(self) -> None:
        while not self._stop.is_set():
            try:
                is_busy = self.round()
            except (DatabaseError, OSError):  # OSError: the store is away, or a job was deleted while it was read.
                logger.exception("log_shipping_interrupted")
                is_busy = False
            if not is_busy:
                self._stop.wait(ROUND_SECONDS)
        for cluster_id in self._counters:
            leases.release(cluster_id, PURPOSE, self._holder)

    def round(self) -> bool:
        """Ship what is there of each cluster, up to a bound; whether there may be more."""
        is_busy = False
        for cluster_id in list(clusters_in_use().values_list("pk", flat=True)):
            try:
                self._renew(cluster_id)
                is_busy |= self._ship(cluster_id)
                self._report(cluster_id)
            except LostLease:
                self._counters.pop(cluster_id, None)
            if self._stop.is_set():
                return False
        return is_busy

    def _renew(self, cluster_id: int) -> None:
        if not leases.acquire(cluster_id, PURPOSE, self._holder, LEASE_SECONDS):
            raise LostLease
        self._counters.setdefault(cluster_id, Counters())

    def _ship(self, cluster_id: int) -> bool:
        streams = list(selectors.unshipped_on(cluster_id)[:STREAMS_A_ROUND])
        is_busy = len(streams) == STREAMS_A_ROUND
        for batch in batches(streams):
            self._send_until_taken(cluster_id, batch)
            if self._stop.is_set():
                return False
        return is_busy or any(stream.line_count - stream.shipped > LINES_A_STREAM for stream in streams)

    def _send_until_taken(self, cluster_id: int, batch: list[Shipped]) -> None:
        counters, tries = self._counters[cluster_id], 0
        counters.oldest = batch[0].stamp
        while True:
            try:
                counters.problem = self._send(counters, batch)
                break
            except SinkError as error:
                tries += 1
                counters.failures += 1
                counters.problem = f"{type(error).__name__}: {error}"[:500]
                logger.warning("log_sink_failed", error=str(error), tries=tries)
            self._report(cluster_id)
            pause = min(LONGEST_PAUSE_SECONDS, 0.2 * 2 ** min(tries, 10)) * random.uniform(0.5, 1)  # noqa: S311
            if self._stop.wait(pause):
                return
            self._renew(cluster_id)
        counters.oldest = ""
        services.record_shipped(cursors={record.stream: record.ordinal + 1 for record in batch})

    def _send(self, counters: Counters, batch: list[Shipped]) -> str:
        """All that the sink will ever take of the batch, or raises. Returns what it said of the others."""
        try:
            refusal = self._sink.send(batch)
        except Refused as refused:
            if len(batch) > 1:  # One too large, or too odd, must not keep the others back.
                middle = len(batch) // 2
                parts = [self._send(counters, part) for part in (batch[:middle], batch[middle:])]
                return parts[0] or parts[1]
            refusal = str(refused)
        if refusal:
            counters.refused += 1
            logger.warning("log_records_refused", first=batch[0].ordinal, stream=batch[0].stream, error=refusal)
            if len(batch) == 1:
                return refusal
        counters.sent_records += len(batch)
        counters.sent_bytes += sum(len(record.text) for record in batch)
        return refusal

    def _report(self, cluster_id: int) -> None:
        counters = self._counters[cluster_id]
        if time.monotonic() - counters.reported < REPORT_SECONDS:
            return
        counters.reported = time.monotonic()
        services.record_shipping(
            cluster=cluster_id,
            holder=self._holder,
            pending_lines=selectors.unshipped_lines_on(cluster_id),
            lag_seconds=age_of(counters.oldest),
            sent_records=counters.sent_records,
            sent_bytes=counters.sent_bytes,
            failures=counters.failures,
            refused=counters.refused,
            problem=counters.problem,
        )


def age_of(stamp: str) -> float:
    """Seconds since a stamp; 0 for none."""
    if not stamp:
        return 0.0
    return max(0.0, (timezone.now() - datetime.fromisoformat(stamp[:19]).replace(tzinfo=UTC)).total_seconds())


def batches(streams: list[LogStream]) -> Iterator[list[Shipped]]:
    """What the streams hold beyond their cursors, in pieces for one request each."""
    batch: list[Shipped] = []
    size = 0
    for record in _records(streams):
        batch.append(record)
        size += len(record.text) + 300
        if len(batch) >= BATCH_RECORDS or size >= BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _records(streams: list[LogStream]) -> Iterator[Shipped]:
    for stream, source in zip(streams, selectors.sources_of(streams), strict=True):
        labels = labels_of(stream)
        end = min(stream.line_count, stream.shipped + LINES_A_STREAM)
        for line in store.iterate(source, stream.shipped, end):
            kind = KIND_WORDS.get(line.kind, "line")
            yield Shipped(stream.pk, line.ordinal, line.stamp.decode(), kind, line.text, labels)


def labels_of(stream: LogStream) -> Labels:
    return Labels(
        project=stream.job.project.slug,
        job=str(stream.job.uid),
        job_name=stream.job.name,
        pod=stream.pod_name,
        rank=stream.rank,
        container=stream.container,
        attempt=stream.attempt_number,
        restart=stream.restart,
        uid=f"{stream.pod_uid}-{stream.container}-{stream.restart}",
    )
