from celery import shared_task

from . import services


@shared_task
def forget_expired(**_: object) -> None:
    services.forget_expired()
