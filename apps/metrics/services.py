"""Writes about what pods use: samples as they come, figures when an attempt is over, and their removal."""

import time
from datetime import timedelta

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from apps.clusters import gateway, labels
from apps.clusters.gateway import Forbidden, GatewayError, NotFound, PodUsage
from apps.clusters.models import Cluster
from apps.core.bulk import update_rows
from apps.core.events import publish
from apps.jobs.launching import OURS
from apps.jobs.models import Pod
from apps.quotas.selectors import namespace_name

from . import selectors
from .choices import SourceState
from .events import UsageSampled
from .models import AttemptUsage, PodSample, Source

Place = tuple[str, str, str, str]  # namespace, uid of the job, number of the attempt, name of the pod
BATCH = 1000  # rows a statement
SETTLING = timedelta(seconds=30)  # after an attempt's end a look that began before it may still be writing
CLOSED_AT_ONCE = 200  # attempts a statement
REMOVED_AT_ONCE = 20  # attempts a transaction: each may have a hundred thousand samples
REMOVAL_SECONDS = 60.0  # of one run; the rest is for the next


def sample_cluster(*, cluster_id: int) -> int:
    """Measure the running pods of a cluster once. Returns how many were; does not ask where nothing runs.

    Safe to run twice at once: what was measured at one moment is one row.
    """
    cluster = Cluster.objects.filter(pk=cluster_id).first()
    pods = {_place(pod): pod for pod in selectors.running_pods(cluster_id)} if cluster else {}
    if cluster is None or not pods:
        return 0
    state, message, measured = _ask(cluster)
    return _record(cluster, state, message, [(pods[at], used) for used in measured if (at := _place_of(used)) in pods])


def _ask(cluster: Cluster) -> tuple[SourceState, str, list[PodUsage]]:
    """What the cluster says. One without a metrics API is not asked again: the probe sees when it gets one."""
    if not cluster.serves(gateway.METRICS_API):
        return SourceState.ABSENT, "", []
    try:
        return SourceState.OK, "", list(gateway.connect(cluster).pod_usage(labels=OURS))
    except NotFound:
        return SourceState.ABSENT, "", []
    except Forbidden as refusal:
        return SourceState.REFUSED, str(refusal), []
    except GatewayError as failure:
        return SourceState.AWAY, str(failure), []


def _place(pod: Pod) -> Place:
    attempt = pod.attempt
    return namespace_name(attempt.job.project), str(attempt.job.uid), str(attempt.number), pod.name


def _place_of(used: PodUsage) -> Place:
    """Labels can be forged by whoever may write to another namespace; a job's pods live in its project's own."""
    return used.namespace, used.labels.get(labels.UID, ""), used.labels.get(labels.ATTEMPT, ""), used.name


@transaction.atomic
def _record(cluster: Cluster, state: SourceState, message: str, measured: list[tuple[Pod, PodUsage]]) -> int:
    now = timezone.now()
    values = {"state": state, "message": message[:2000], "asked_at": now}
    Source.objects.update_or_create(cluster=cluster, defaults=values)
    begun = {pod.attempt_id: used.at for pod, used in measured if pod.is_new}  # type: ignore[attr-defined]
    AttemptUsage.objects.bulk_create(
        [AttemptUsage(attempt_id=pk, first_at=at, last_at=at) for pk, at in sorted(begun.items())],
        batch_size=BATCH,
        ignore_conflicts=True,
    )
    PodSample.objects.bulk_create(
        [
            PodSample(pod=pod, at=used.at, cpu_millicores=used.cpu_millicores, memory_bytes=used.memory_bytes)
            for pod, used in measured
        ],
        batch_size=BATCH,
        ignore_conflicts=True,
    )
    for job_id, uid in sorted({(pod.attempt.job_id, str(pod.attempt.job.uid)) for pod, _ in measured}):
        publish(UsageSampled(job_id=job_id, job_uid=uid))
    return len(measured)


def close_ended() -> int:
    """Write the figures of attempts that are over. Returns how many. Safe to run twice at once."""
    limit = timezone.now() - SETTLING
    due = AttemptUsage.objects.filter(closed_at=None, samples_removed_at=None, attempt__finished_at__lt=limit)
    rows = list(due.order_by("pk")[:CLOSED_AT_ONCE])
    found = selectors.figures_of([row.pk for row in rows])
    closed = [row for row in rows if row.pk in found]
    for row in closed:
        figures = found[row.pk]
        row.first_at, row.last_at, row.closed_at = figures.first_at, figures.last_at, timezone.now()
        row.sample_count, row.pod_count = figures.sample_count, figures.pod_count
        for name in ("cpu_millicores", "memory_bytes"):
            spread = getattr(figures, name)
            for kind in ("mean", "p95", "max"):
                setattr(row, f"{name}_{kind}", getattr(spread, kind))
    written = [field.attname for field in AttemptUsage._meta.concrete_fields if not field.primary_key]
    update_rows(closed, [name for name in written if name != "samples_removed_at"])
    return len(closed)


def remove_expired() -> int:
    """Remove the samples of attempts that were over long ago; their figures stay. Returns how many attempts.

    An attempt that runs keeps all of its samples, however long it does: its figures are not complete without them.
    """
    days, removed, deadline = settings.CUBE_USAGE_RETENTION_DAYS, 0, time.monotonic() + REMOVAL_SECONDS
    while days and time.monotonic() < deadline and (batch := _remove_some(older_than=timedelta(days=days))):
        removed += batch
    return removed


@transaction.atomic
def _remove_some(*, older_than: timedelta) -> int:
    now = timezone.now()
    due = AttemptUsage.objects.filter(samples_removed_at=None, closed_at__lt=now - older_than).order_by("closed_at")
    ids = list(due.values_list("pk", flat=True)[:REMOVED_AT_ONCE])
    PodSample.objects.filter(pod__in=Pod.objects.filter(attempt__in=ids)).delete()
    return AttemptUsage.objects.filter(pk__in=ids).update(samples_removed_at=now)
