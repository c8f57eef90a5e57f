"""Reads that span rows and files."""

import heapq
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import timedelta
from operator import attrgetter
from typing import Any
from uuid import UUID

from django.db.models import Exists, F, OuterRef, Q, QuerySet, Sum
from django.db.models.functions import Coalesce, Greatest
from django.utils import timezone

from apps.jobs.models import Job, Pod

from . import store
from .lines import Line
from .models import LogGap, LogSegment, LogStream

PATIENCE = timedelta(seconds=60)  # how long after a job's end a pod may still be without a log
by_stamp = attrgetter("stamp")


def visible_job(user: Any, uid: UUID) -> Job | None:
    """The job, when `user` may read its project; hidden and missing look alike."""
    return Job.objects.visible_to(user, "view_project").filter(uid=uid).first()


def streams_of(job_id: int) -> list[LogStream]:
    return list(LogStream.objects.filter(job_id=job_id).order_by("rank", "pk"))


def failed_pods_of(job_id: int) -> frozenset[str]:
    """The uids of a job's pods that failed: where the first error is looked for first."""
    failed = Pod.objects.filter(attempt__job_id=job_id).filter(Q(phase="Failed") | Q(exit_code__gt=0))
    return frozenset(failed.values_list("uid", flat=True))


def sources_of(streams: Iterable[LogStream]) -> list[store.Source]:
    """Where the lines of streams are at this moment, in the order of the streams. One query."""
    rows: dict[int, list[store.Segment]] = {stream.pk: [] for stream in streams}
    fields = ("stream_id", "first", "records", "earliest", "latest", "name", "offset", "size", "index_size")
    found = LogSegment.objects.filter(stream_id__in=rows).order_by("stream_id", "first").values_list(*fields)
    for stream_id, first, records, earliest, latest, *place in found:
        rows[stream_id].append(store.Segment(first, records, earliest.encode(), latest.encode(), *place))
    return [_source(stream_id, segments) for stream_id, segments in rows.items()]


def source_of(stream: LogStream, rows: Iterable[LogSegment] | None = None) -> store.Source:
    """Where one stream's lines are; or those of some of its segments."""
    if rows is None:
        return sources_of([stream])[0]
    names = ("name", "offset", "size", "index_size")
    return _source(
        stream.pk,
        [
            store.Segment(
                row.first,
                row.records,
                row.earliest.encode(),
                row.latest.encode(),
                *(getattr(row, name) for name in names),
            )
            for row in rows
        ],
    )


def _source(stream: int, segments: list[store.Segment]) -> store.Source:
    return store.Source(stream, tuple(segments), segments[-1].end if segments else 0)


def ends_with_gap(stream: LogStream) -> bool:
    """Whether the last stored record of a stream is a gap row."""
    return LogGap.objects.filter(stream=stream, ordinal=stream.line_count - 1).exists()


def incomplete_on(cluster_id: int) -> QuerySet[LogStream]:
    """Streams of a cluster whose end has not been collected."""
    return LogStream.objects.filter(job__cluster_id=cluster_id, is_complete=False).select_related("job__project")


def unshipped_on(cluster_id: int) -> QuerySet[LogStream]:
    """Streams of a cluster with records that were not shipped; `shipped` is the next ordinal to send."""
    shipped = Greatest(Coalesce(F("ship_cursor__ordinal"), 0), F("kept_from"))
    found = LogStream.objects.filter(job__cluster_id=cluster_id, line_count__gt=0).annotate(shipped=shipped)
    return found.filter(line_count__gt=F("shipped")).select_related("job__project").order_by("pk")


def unshipped_lines_on(cluster_id: int) -> int:
    waiting = unshipped_on(cluster_id).order_by().aggregate(n=Sum(F("line_count") - F("shipped")))
    return int(waiting["n"] or 0)


def has_ended(job_id: int, streams: Iterable[LogStream]) -> bool:
    """Whether no more lines can come: the job finished and each pod that ran has been collected to its end.

    A pod without any log is waited for only a while, since it may have vanished before it could be read.
    """
    job = Job.objects.filter(pk=job_id).only("status", "finished_at").first()
    if job is None:
        return True
    if not job.is_finished or not all(stream.is_complete for stream in streams):
        return False
    if job.finished_at is None or job.finished_at < timezone.now() - PATIENCE:
        return True
    collected = LogStream.objects.filter(job_id=job_id, pod_uid=OuterRef("uid"))
    return not Pod.objects.filter(~Exists(collected), attempt__job_id=job_id, started_at__isnull=False).exists()


def merged(
    sources: Iterable[store.Source], starts: Mapping[int, int], ends: Mapping[int, int] | None = None
) -> Iterator[Line]:
    """Lines from each stream's start on, by time; within a stream their order is that of the file."""
    ends = ends or {}
    return heapq.merge(
        *(store.iterate(source, starts.get(source.stream, 0), ends.get(source.stream)) for source in sources),
        key=by_stamp,
    )


def newest(
    sources: Iterable[store.Source],
    ends: Mapping[int, int],
    number: int,
    wanted: Callable[[Line], bool] | None = None,
) -> list[Line]:
    """The last `number` lines before each stream's end, merged by time, oldest first. Reads no more than it must."""
    backwards = heapq.merge(
        *(store.backwards(source, ends[source.stream]) for source in sources if ends.get(source.stream)),
        key=by_stamp,
        reverse=True,
    )
    lines: list[Line] = []
    for line in backwards:
        if len(lines) >= number:
            break
        if wanted is None or wanted(line):
            lines.append(line)
    return lines[::-1]


def counts(sources: Iterable[store.Source]) -> dict[int, int]:
    """stream -> how many lines are stored."""
    return {source.stream: source.lines for source in sources}
