from celery import shared_task

from apps.clusters.gateway import Unavailable

from . import listing


@shared_task(autoretry_for=(Unavailable,), retry_backoff=True, max_retries=4)
def start_listing(*, workspace_id: int) -> None:
    listing.start(workspace_id=workspace_id)
