"""Writes on log streams. All of them are the collector's bookkeeping; people only read."""

from collections.abc import Iterable
from dataclasses import dataclass

from django.db import transaction
from django.utils import timezone

from apps.jobs.models import Job

from . import store
from .models import LogStream


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


@dataclass(frozen=True)
class Progress:
    """How far a stream's file has come."""

    stream: int
    lines: int
    bytes: int
    first_time: str
    last_time: str
    latest_time: str
    is_complete: bool


@transaction.atomic
def open_stream(*, job: Job, run: ContainerRun) -> LogStream:
    """The stream of this container run, made on first sight. Raises UnsafePath for names no Kubernetes would give."""
    path = store.path_of(
        project_id=job.project_id,
        job_uid=job.uid,
        attempt=run.attempt,
        pod_uid=run.pod_uid,
        container=run.container,
        restart=run.restart,
    )
    stream, _ = LogStream.objects.get_or_create(
        pod_uid=run.pod_uid,
        container=run.container,
        restart=run.restart,
        defaults={
            "job": job,
            "attempt_number": run.attempt,
            "pod_name": run.pod_name,
            "rank": run.rank,
            "path": path,
        },
    )
    return stream


@transaction.atomic
def record_progress(*, progress: Iterable[Progress]) -> None:
    """Bring many rows up to date in one go: called about once a second, never per line."""
    now = timezone.now()
    rows = [
        LogStream(
            pk=each.stream,
            line_count=each.lines,
            byte_count=each.bytes,
            first_time=each.first_time,
            last_time=each.last_time,
            latest_time=each.latest_time,
            is_complete=each.is_complete,
            updated_at=now,
        )
        for each in progress
    ]
    fields = ["line_count", "byte_count", "first_time", "last_time", "latest_time", "is_complete", "updated_at"]
    LogStream.objects.bulk_update(rows, fields, batch_size=100)


def remove_job_logs(*, project_id: int, job_uid: str) -> None:
    """Delete a job's files; its rows went with the job. Safe to call twice."""
    store.remove_job(project_id=project_id, job_uid=job_uid)
