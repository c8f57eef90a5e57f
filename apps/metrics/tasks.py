"""Celery's doors: every one may run twice, late, or never (the next tick comes)."""

from celery import shared_task

from apps.jobs.selectors import clusters_in_use

from . import services

SAMPLE_SECONDS = 15  # as metrics-server measures; the ticks are in settings


@shared_task
def sample_clusters(**_: object) -> None:
    """The tick: each cluster in a task of its own, so that one that hangs holds up nobody but itself."""
    for cluster in clusters_in_use():
        sample_cluster.apply_async(kwargs={"cluster_id": cluster.pk}, expires=SAMPLE_SECONDS - 1)


@shared_task
def sample_cluster(*, cluster_id: int) -> int:
    return services.sample_cluster(cluster_id=cluster_id)


@shared_task
def close_ended(**_: object) -> int:
    return services.close_ended()


@shared_task
def remove_expired(**_: object) -> int:
    return services.remove_expired()
