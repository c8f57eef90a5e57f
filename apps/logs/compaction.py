"""Rewriting: many small segments of a stream become few large ones, and what nothing names any more is deleted.

Packs hold a second of many streams; reading one stream from them for ever would mean an open a second of its life. So
the newest segments of a stream are joined as soon as there are MANY, and all that are small when its log is complete.
A segment is joined with the ones before it while these are not larger, so each byte is rewritten about log2 times at
most."""

from collections.abc import Sequence
from datetime import timedelta

from django.db import transaction
from django.db.models import Count, Q, QuerySet
from django.utils import timezone

from apps.jobs.models import Job

from . import selectors
from .models import LogGarbage, LogSegment, LogStream
from .store import objects, segments
from .store.reading import Moved, bodies

MANY = 64  # segments before they are joined
SEGMENT_BYTES = 8 * 1024 * 1024  # of raw records: larger ones stay as they are
STILL_READ = timedelta(hours=1)  # a reader may hold a source that names the old segments
ORPHAN_HOURS = 2
BATCH = 200


def join_segments(*, stream_id: int) -> bool:
    """Join the newest segments of a stream into one, if that is due. Returns whether anything changed. Safe anywhere: a
    crash leaves an object that no row names, which the sweep of its job or of the packs removes."""
    stream = LogStream.objects.select_related("job").get(pk=stream_id)
    rows = chosen(list(stream.segments.order_by("first")), is_complete=stream.is_complete)
    if not rows:
        return False
    try:
        body = b"".join(bodies(selectors.source_of(stream, rows)))
    except Moved:
        return False  # Somebody else joined them.
    encoded = segments.encode(body, level=segments.SMALL, with_filters=True)
    job: Job = stream.job
    name = objects.segment_name(project_id=job.project_id, job_uid=job.uid, stream=stream.pk, first=rows[0].first)
    objects.write(name, encoded.data)
    if _replace(stream, rows, name, encoded, len(body)):
        return True
    objects.remove(name)
    return False


def chosen(rows: Sequence[LogSegment], *, is_complete: bool) -> list[LogSegment]:
    """Which of a stream's segments, in order, are joined now: the last ones, or none."""
    small = 0
    for row in reversed(rows):
        if not _is_pack(row):
            break
        small += 1
    if small == 0 or (small < MANY and not is_complete):
        return []
    taken = list(rows[len(rows) - small :])
    size = sum(row.raw_bytes for row in taken)
    for row in reversed(rows[: len(rows) - small]):
        if row.raw_bytes + size > SEGMENT_BYTES or (row.raw_bytes > 2 * size and not is_complete):
            break
        taken.insert(0, row)
        size += row.raw_bytes
    return _at_most(taken, SEGMENT_BYTES)


def _at_most(rows: list[LogSegment], size: int) -> list[LogSegment]:
    """The first of `rows` that fit; the others are for the next time. One alone always fits."""
    kept: list[LogSegment] = []
    for row in rows:
        if kept and sum(each.raw_bytes for each in kept) + row.raw_bytes > size:
            break
        kept.append(row)
    return kept


def _is_pack(row: LogSegment) -> bool:
    return row.name.startswith("packs/")


@transaction.atomic
def _replace(
    stream: LogStream, rows: Sequence[LogSegment], name: str, encoded: segments.Encoded, raw_bytes: int
) -> bool:
    if LogStream.objects.select_for_update().filter(pk=stream.pk).first() is None:
        return False  # The job was deleted.
    old = LogSegment.objects.filter(pk__in=[row.pk for row in rows])
    if old.count() != len(rows):
        return False
    old.delete()
    LogSegment.objects.create(
        stream=stream,
        first=rows[0].first,
        records=encoded.records,
        earliest=encoded.earliest.decode(),
        latest=encoded.latest.decode(),
        raw_bytes=raw_bytes,
        name=name,
        size=len(encoded.data),
        index_size=encoded.index_size,
    )
    discard({row.name for row in rows})
    return True


def discard(names: set[str]) -> None:
    """Note those objects that no segment names any more for deletion; part of the transaction that took the last
    name."""
    named = set(LogSegment.objects.filter(name__in=names).values_list("name", flat=True))
    later = timezone.now() + STILL_READ
    LogGarbage.objects.bulk_create(
        [LogGarbage(name=name, delete_after=later) for name in sorted(names - named)], ignore_conflicts=True
    )


def abandon(stream: LogStream) -> None:
    """Note a stream's own objects for deletion. Its share of packs goes with them, once no stream names them."""
    names = stream.segments.exclude(name__startswith="packs/").values_list("name", flat=True)
    LogGarbage.objects.bulk_create(
        [LogGarbage(name=name, delete_after=timezone.now()) for name in names], ignore_conflicts=True
    )


def due(cluster_id: int) -> QuerySet[LogStream]:
    """Streams of a cluster that have segments to join."""
    packs = LogStream.objects.filter(job__cluster_id=cluster_id, segments__name__startswith="packs/")
    counted = packs.annotate(packs=Count("segments"))
    return counted.filter(Q(is_complete=True) | Q(packs__gte=MANY)).order_by("updated_at")


def remove_garbage() -> int:
    """Delete a batch of objects that are due. Returns how many."""
    rows = list(LogGarbage.objects.filter(delete_after__lte=timezone.now()).order_by("pk")[:BATCH])
    for row in rows:
        objects.remove(row.name)
        row.delete()
    return len(rows)


def remove_orphans() -> int:
    """Delete packs of some hours ago that no row names: of commits that did not live to tell. Returns how many."""
    before = (timezone.now() - timedelta(hours=ORPHAN_HOURS)).strftime("%Y%m%d%H")
    names = objects.old_packs(before)
    removed = 0
    for at in range(0, len(names), BATCH):
        batch = set(names[at : at + BATCH])
        batch -= set(LogSegment.objects.filter(name__in=batch).values_list("name", flat=True))
        batch -= set(LogGarbage.objects.filter(name__in=batch).values_list("name", flat=True))
        for name in batch:
            objects.remove(name)
        removed += len(batch)
    return removed
