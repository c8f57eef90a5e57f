"""Reads that span tables."""

from datetime import timedelta

from django.db.models import Q, QuerySet
from django.utils import timezone

from apps.clusters.choices import Health
from apps.clusters.models import Cluster
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
    """Queued jobs whose launch message may be lost: a worker died, or the broker was away.

    Those of a cluster that does not answer wait for it: asking for each would keep the workers from the others.
    """
    late = Job.objects.filter(status=JobStatus.QUEUED, updated_at__lt=timezone.now() - PATIENCE)
    return late.exclude(cluster__health=Health.UNREACHABLE)


def clusters_in_use() -> QuerySet[Cluster]:
    """Also disabled ones while something runs there: they take no new work, but what they have still ends."""
    return Cluster.objects.filter(Q(is_enabled=True) | Q(pk__in=Job.objects.unfinished().values("cluster_id")))


def unfinished_on(cluster_id: int) -> JobQuerySet:
    return Job.objects.unfinished().exclude(status=JobStatus.QUEUED).filter(cluster_id=cluster_id)


def closed_attempts(uids: set[str], *, cluster_id: int) -> QuerySet[Attempt]:
    """Those of the named jobs that have ended, by themselves or with their job."""
    ended = Attempt.objects.filter(finished_at__isnull=False, job__uid__in=uids, job__cluster_id=cluster_id)
    return ended.select_related("job__project")
