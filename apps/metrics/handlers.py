"""What happens when usage was sampled."""

from apps.core.events import subscribe
from apps.core.push import push

from .events import UsageSampled


@subscribe(UsageSampled)
def tell_job_page(event: UsageSampled) -> None:
    push(f"job.{event.job_id}", {"type": "job.usage_sampled", "uid": event.job_uid})
