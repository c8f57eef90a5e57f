from celery import shared_task

from . import retention


@shared_task
def remove_expired(**_: object) -> None:
    retention.remove_expired()
