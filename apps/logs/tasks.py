from celery import shared_task

from . import services


@shared_task(autoretry_for=(OSError,), retry_backoff=True, max_retries=8)
def remove_job_logs(*, project_id: int, job_uid: str, **_: object) -> None:
    services.remove_job_logs(project_id=project_id, job_uid=job_uid)
