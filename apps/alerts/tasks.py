"""Celery's doors. Every task may run twice, at once, late or never."""

from collections.abc import Sequence

from celery import shared_task
from django.utils import timezone

from . import outbox, retention, selectors, watching


@shared_task(ignore_result=True)
def look(*, project_id: int, schedule_ids: Sequence[int] = (), pipeline_ids: Sequence[int] = ()) -> None:
    watching.look(project_id=project_id, schedule_ids=schedule_ids, pipeline_ids=pipeline_ids)


@shared_task(ignore_result=True, soft_time_limit=60, time_limit=90)
def send_delivery(*, delivery_id: int) -> None:
    outbox.send(delivery_id=delivery_id)


@shared_task(ignore_result=True)
def remove_expired() -> None:
    retention.remove_expired()


@shared_task(ignore_result=True)
def sweep_alerts() -> None:
    """Finds what no message told of, and messages that are due: retries, and those whose sender died."""
    watching.sweep()
    for delivery_id in selectors.due_deliveries(timezone.now()):
        send_delivery.delay(delivery_id=delivery_id)
