"""Reads that span tables."""

from datetime import timedelta

from django.db.models import Q
from django.utils import timezone

from apps.clusters.quantities import Resources
from apps.jobtemplates import rendering
from apps.quotas.selectors import namespace_name

from .choices import JobStatus
from .models import Attempt, Job, JobQuerySet
from .plan import JobPlan

PATIENCE = timedelta(seconds=15)  # how long a queued job may wait for its message before the sweep sends another


def plan_for(job: Job, *, attempt: int, has_workspace: bool) -> JobPlan:
    """Render the job's template version with its parameters. Needs no saved row, so a preview uses it too."""
    group = job.resource_group
    return JobPlan(
        uid=str(job.uid),
        name=job.name,
        attempt=attempt,
        project=job.project.slug,
        namespace=namespace_name(job.project),
        workload=rendering.render(job.template_version.body, job.params),
        resources=Resources.parse(job.resources),
        priority=job.priority,
        node_selector=dict(group.node_selector) if group else {},
        has_workspace=has_workspace,
        time_limit_seconds=job.time_limit_seconds,
    )


def current_attempt(job: Job) -> Attempt:
    return job.attempts.order_by("-number")[0]


def forgotten_in_queue() -> JobQuerySet:
    """Queued jobs whose launch message may be lost: a worker died, or the broker was away."""
    return Job.objects.filter(status=JobStatus.QUEUED, updated_at__lt=timezone.now() - PATIENCE)


def unfinished_on(cluster_id: int) -> JobQuerySet:
    return Job.objects.unfinished().exclude(status=JobStatus.QUEUED).filter(cluster_id=cluster_id)


def known_uids(uids: set[str]) -> dict[str, str]:
    """uid -> status of those jobs that exist."""
    return {str(uid): status for uid, status in Job.objects.filter(Q(uid__in=uids)).values_list("uid", "status")}
