"""What happens to logs when jobs announce something."""

from apps.core.events import subscribe
from apps.jobs.events import JobDeleted

from . import tasks


@subscribe(JobDeleted)
def enqueue_removal(event: JobDeleted) -> None:
    tasks.remove_job_logs.delay(project_id=event.project_id, job_uid=event.job_uid)
