"""Celery's doors: an id in, one call. Every one may run twice, late, or never (the sweep comes round)."""

from celery import shared_task

from apps.clusters.gateway import Unavailable

from . import launching, selectors, services, sweep

again = {"autoretry_for": (Unavailable,), "retry_backoff": True, "retry_backoff_max": 60, "max_retries": 8}
BATCH = 500


@shared_task(**{**again, "max_retries": 2})  # the sweep sends another when the cluster is back
def launch_job(*, job_id: int) -> None:
    launching.launch_job(job_id=job_id)


@shared_task(**again)
def remove_attempts(*, job_id: int) -> None:
    launching.remove_attempts(job_id=job_id)


@shared_task(**again)
def remove_all(*, cluster_id: int, namespace: str, job_uid: str) -> None:
    launching.remove_all(cluster_id=cluster_id, namespace=namespace, job_uid=job_uid)


@shared_task
def sweep_jobs() -> None:
    """The tick: send forgotten launches again, and look at each cluster in a task of its own."""
    for job_id in services.claim_forgotten(limit=BATCH):
        launch_job.delay(job_id=job_id)
    for cluster in selectors.clusters_in_use():
        sweep_cluster.apply_async(kwargs={"cluster_id": cluster.pk}, expires=30)


@shared_task(throws=(Unavailable,))
def sweep_cluster(*, cluster_id: int) -> dict[str, int]:
    return sweep.sweep_cluster(cluster_id=cluster_id)
