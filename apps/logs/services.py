"""Writes on logs: the collector's bookkeeping, and what admins say about masking."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.db import connection, transaction
from django.db.models import F
from django.utils import timezone

from apps.accounts import audit
from apps.clusters.models import Cluster
from apps.core.validation import clean
from apps.jobs.models import Job

from .lines import Gap
from .models import CollectorReport, LogGap, LogSegment, LogStream, MaskingPattern, ShipCursor, ShipReport
from .store.segments import Encoded


@dataclass(frozen=True)
class ContainerRun:
    """One run of one container of a job's pod, as the cluster names it."""

    namespace: str
    pod_name: str
    pod_uid: str
    container: str
    restart: int
    attempt: int = 1
    rank: int | None = None
    node: str = ""


@dataclass(frozen=True)
class Entry:
    """What a commit says of one stream: the records from `first` on, if there are any, and how far its log has come."""

    stream: int
    epoch: int
    first: int
    records: int = 0
    raw_bytes: int = 0
    first_time: str = ""
    last_time: str = ""
    latest_time: str = ""
    is_complete: bool = False
    gaps: Sequence[tuple[int, Gap]] = field(default=())
    segment: Encoded | None = None
    offset: int = 0


@transaction.atomic
def open_stream(*, job: Job, run: ContainerRun) -> LogStream:
    """The stream of this container run, made on first sight. Whoever had it open before can store nothing more."""
    stream, is_new = LogStream.objects.get_or_create(
        pod_uid=run.pod_uid,
        container=run.container,
        restart=run.restart,
        defaults={
            "job": job,
            "attempt_number": run.attempt,
            "pod_name": run.pod_name,
            "rank": run.rank,
            "epoch": 1,
        },
    )
    if not (is_new or stream.is_complete):
        LogStream.objects.filter(pk=stream.pk).update(epoch=F("epoch") + 1)
        stream.refresh_from_db()
    return stream


def commit(*, name: str, entries: Sequence[Entry]) -> set[int]:
    """Make what the object `name` holds part of its streams, all of it or nothing. Returns the streams that are
    refused.

    A stream is refused when another collector has opened it meanwhile, or it is gone; then nothing at all has
    changed, and the commit is to be made without it."""
    with transaction.atomic():
        known = {
            row.pk: row
            for row in LogStream.objects.select_for_update().filter(pk__in=[e.stream for e in entries]).order_by("pk")
        }
        refused = {entry.stream for entry in entries if not _continues(known.get(entry.stream), entry)}
        if refused:
            return refused
        LogSegment.objects.bulk_create([_segment(name, entry) for entry in entries if entry.segment], batch_size=500)
        LogGap.objects.bulk_create([_gap(entry, at, gap) for entry in entries for at, gap in entry.gaps])
        for entry in entries:
            _advance(known[entry.stream], entry)
        _save(known.values())
    return set()


def _save(rows: Iterable[LogStream]) -> None:
    """One prepared statement for all rows: `bulk_update` takes ten times as long, every second."""
    table = connection.ops.quote_name(LogStream._meta.db_table)
    fields = [LogStream._meta.get_field(name) for name in ADVANCING]
    columns = ", ".join(f"{connection.ops.quote_name(field.column)} = %s" for field in fields)
    now = timezone.now()
    for row in rows:
        row.updated_at = now
    values = [
        [*(field.get_db_prep_save(getattr(row, field.attname), connection) for field in fields), row.pk] for row in rows
    ]
    with connection.cursor() as cursor:
        cursor.executemany(f"UPDATE {table} SET {columns} WHERE id = %s", values)  # noqa: S608 - our own names only


ADVANCING = ["line_count", "byte_count", "first_time", "last_time", "latest_time", "is_complete", "updated_at"]


def _continues(row: LogStream | None, entry: Entry) -> bool:
    return row is not None and (row.epoch, row.line_count, row.is_complete) == (entry.epoch, entry.first, False)


def _advance(row: LogStream, entry: Entry) -> None:
    row.line_count += entry.records
    row.byte_count += entry.raw_bytes
    row.first_time = row.first_time or entry.first_time
    row.last_time = entry.last_time or row.last_time
    row.latest_time = max(row.latest_time, entry.latest_time)
    row.is_complete = entry.is_complete


def _segment(name: str, entry: Entry) -> LogSegment:
    segment = entry.segment
    if segment is None:
        raise ValueError("an entry without records has no segment")
    return LogSegment(
        stream_id=entry.stream,
        first=entry.first,
        records=segment.records,
        earliest=segment.earliest.decode(),
        latest=segment.latest.decode(),
        raw_bytes=entry.raw_bytes,
        name=name,
        offset=entry.offset,
        size=len(segment.data),
        index_size=segment.index_size,
    )


def _gap(entry: Entry, ordinal: int, gap: Gap) -> LogGap:
    return LogGap(
        stream_id=entry.stream,
        ordinal=ordinal,
        cause=gap.cause,
        text=gap.text,
        since=gap.since,
        until=gap.until,
        bytes=gap.bytes,
    )


# -- masking ---------------------------------------------------------------------------------------------------------
@transaction.atomic
def save_pattern(*, pattern: MaskingPattern, actor: Any = None) -> MaskingPattern:
    """Keep a new or changed masking pattern; logs that begin later are masked by it. Raises InvalidInput."""
    clean(pattern)
    verb = "create" if pattern.pk is None else "update"
    pattern.save()
    detail = {"expression": pattern.expression, "is_enabled": pattern.is_enabled}
    audit.record(actor=actor, action=f"masking.{verb}", target=pattern, detail=detail)
    return pattern


@transaction.atomic
def delete_pattern(*, pattern: MaskingPattern, actor: Any = None) -> None:
    """Logs that begin later are no longer masked by it."""
    audit.record(actor=actor, action="masking.delete", target=pattern, detail={"expression": pattern.expression})
    pattern.delete()


# -- the collector's own health --------------------------------------------------------------------------------------
COUNTED = frozenset(
    {"following", "waiting", "polling", "requests", "reconnects", "gaps", "lines", "bytes", "pending_bytes", "commits"}
)
MEASURED = frozenset({"lag_seconds", "budget_used"})


def record_report(*, cluster: Cluster | int, holder: str, counters: Mapping[str, Any]) -> CollectorReport:
    """Keep what a collector says of itself; called about every 5 seconds per cluster, by whoever holds its lease.

    `counters` is `vars()` of its Counters: named as the fields of CollectorReport; what is missing counts as 0,
    `problem` is a sentence or "".
    """
    cluster_id = cluster if isinstance(cluster, int) else cluster.pk
    before = CollectorReport.objects.filter(cluster_id=cluster_id).first()
    now = timezone.now()
    values: dict[str, Any] = {name: max(0, int(counters.get(name) or 0)) for name in COUNTED}
    values |= {name: max(0.0, float(counters.get(name) or 0)) for name in MEASURED}
    for name in ("bytes", "lines"):
        values[f"{name}_per_second"] = 0.0
        if before is not None and before.holder == holder[:100] and before.at < now:
            grown = values[name] - getattr(before, name)
            values[f"{name}_per_second"] = max(0.0, grown / (now - before.at).total_seconds())
    report, _ = CollectorReport.objects.update_or_create(
        cluster_id=cluster_id,
        defaults={**values, "holder": holder[:100], "at": now, "problem": str(counters.get("problem") or "")[:2000]},
    )
    return report


# -- shipping --------------------------------------------------------------------------------------------------------
@transaction.atomic
def record_shipped(*, cursors: Mapping[int, int]) -> None:
    """Move the cursors (stream -> next ordinal) of what a sink has taken. Streams that went away are passed over."""
    there = set(LogStream.objects.select_for_update().filter(pk__in=cursors).values_list("pk", flat=True))
    rows = [ShipCursor(stream_id=stream, ordinal=ordinal) for stream, ordinal in cursors.items() if stream in there]
    ShipCursor.objects.bulk_create(
        rows, update_conflicts=True, unique_fields=["stream"], update_fields=["ordinal"], batch_size=200
    )


def record_shipping(*, cluster: int, holder: str, **figures: Any) -> None:
    """Keep what a shipper says of itself; `figures` are fields of ShipReport."""
    ShipReport.objects.update_or_create(
        cluster_id=cluster, defaults={**figures, "holder": holder[:100], "at": timezone.now()}
    )
