"""Doors for the machine."""

from celery import shared_task

from . import selectors, services


@shared_task
def probe_clusters(**_: object) -> None:
    """One task per cluster, so that one that hangs holds up nobody but itself."""
    for cluster_id in selectors.usable_clusters().values_list("pk", flat=True):
        probe_cluster.apply_async(kwargs={"cluster_id": cluster_id}, expires=25)


@shared_task(soft_time_limit=100)
def probe_cluster(*, cluster_id: int, **_: object) -> None:
    services.probe_cluster(cluster_id=cluster_id)
