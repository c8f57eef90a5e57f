"""Celery's doors: an id in, one call. Every one may run twice, late, or never (the sweep comes round)."""

from celery import shared_task

from apps.clusters.gateway import Unavailable

from . import batches, debugging, launching, selectors, services, sweep

again = {"autoretry_for": (Unavailable,), "retry_backoff": True, "retry_backoff_max": 60, "max_retries": 8}
LOST_EXPIRES_SECONDS = 2  # of the tick in settings as well


@shared_task(**{**again, "max_retries": 2})  # `launch_lost` finds it when the cluster is back
def launch_job(*, job_id: int) -> None:
    try:
        launching.launch_job(job_id=job_id)
    except Unavailable:
        services.hold_for_launch(job_ids=[job_id], span=batches.PATIENCE)
        raise


@shared_task
def launch_jobs(*, job_ids: list[int]) -> None:
    """Together where that is plain; the others, each with its own message."""
    for job_id in batches.launch_jobs(job_ids=job_ids):
        launch_job.delay(job_id=job_id)


@shared_task
def launch_lost() -> None:
    """The tick of each second: what workers that died had taken, and whatever else was not launched by its message.

    It goes through the queue of the launches and is dropped when it gets old there. So where it runs, the messages
    before it have been taken by some worker: a backlog, however long, is not launched twice.
    """
    left, may_be_more = batches.launch_lost()
    for job_id in left:
        launch_job.delay(job_id=job_id)
    if may_be_more:
        launch_lost.apply_async(expires=LOST_EXPIRES_SECONDS)


@shared_task(**again)
def remove_attempts(*, job_id: int) -> None:
    launching.remove_attempts(job_id=job_id)


@shared_task(**again)
def remove_all(*, cluster_id: int, namespace: str, job_uid: str) -> None:
    launching.remove_all(cluster_id=cluster_id, namespace=namespace, job_uid=job_uid)


@shared_task
def sweep_jobs() -> None:
    """The tick: look at each cluster in a task of its own."""
    debugging.close_lost_terminals()
    for cluster in selectors.clusters_in_use():
        sweep_cluster.apply_async(kwargs={"cluster_id": cluster.pk}, expires=30)


@shared_task(throws=(Unavailable,))
def sweep_cluster(*, cluster_id: int) -> dict[str, int]:
    return sweep.sweep_cluster(cluster_id=cluster_id)
