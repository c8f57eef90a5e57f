"""Reads that span tables."""

from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.utils import timezone

from apps.clusters.choices import Health
from apps.clusters.models import Cluster, ResourceGroup
from apps.clusters.quantities import Resources
from apps.jobtemplates import rendering
from apps.jobtemplates.models import TemplateVersion
from apps.projects.models import Project
from apps.quotas.selectors import namespace_name

from .choices import JobStatus
from .models import Attempt, Job, JobQuerySet, Pod
from .plan import JobPlan, idle

LATE = timedelta(seconds=2)  # how long a queued job may wait for its message before it is looked for
DEBUG_WAIT_SECONDS = 3600  # how long a debug session may wait for room: later nobody sits before it any more


def plan_for(job: Job, *, attempt: int, has_workspace: bool) -> JobPlan:
    """Render the job's template version with its parameters. Needs no saved row, so a preview uses it too."""
    group = job.resource_group
    workload, limit = rendering.render(job.template_version.body, job.params), job.time_limit_seconds
    if job.is_debug and limit:
        # The session's time counts from its container's start, the cluster's limit from before it found a node.
        workload, limit = idle(workload, seconds=limit), limit + DEBUG_WAIT_SECONDS
    return JobPlan(
        uid=str(job.uid),
        name=job.name,
        attempt=attempt,
        project=job.project.slug,
        namespace=namespace_name(job.project),
        workload=workload,
        resources=Resources.parse(job.resources),
        priority=job.priority,
        node_selector=dict(group.node_selector) if group else {},
        has_workspace=has_workspace,
        workspace_is_on_one_node=has_workspace and settings.CUBE_WORKSPACE_ACCESS_MODE == "ReadWriteOnce",
        time_limit_seconds=limit,
    )


def for_launch(rows: JobQuerySet) -> list[Any]:
    """Jobs with what a launch reads of them, by key; what many share is read once and not joined to each.

    `is_retried` says of each whether it has been tried before.
    """
    later = Attempt.objects.filter(job=OuterRef("pk"), number__gt=1)
    jobs = list(rows.annotate(is_retried=Exists(later)).order_by("pk"))
    groups = ResourceGroup.objects.in_bulk({job.resource_group_id for job in jobs} - {None})
    clusters = Cluster.objects.in_bulk({job.cluster_id for job in jobs})
    projects = Project.objects.in_bulk({job.project_id for job in jobs})
    versions = TemplateVersion.objects.in_bulk({job.template_version_id for job in jobs})
    for job in jobs:
        job.project, job.cluster = projects[job.project_id], clusters[job.cluster_id]
        job.template_version = versions[job.template_version_id]
        job.resource_group = groups[job.resource_group_id] if job.resource_group_id else None
    return jobs


def current_attempt(job: Job) -> Attempt:
    return job.attempts.order_by("-number")[0]


def debug_session(job: Job, person: Any) -> Job | None:
    """The session of this job that the person has, if it is not about to end."""
    sessions = Job.objects.unfinished().exclude(status=JobStatus.STOPPING).select_related("project")
    return sessions.filter(debug_of=job, submitted_by=person, is_debug=True).order_by("-pk").first()


def pod_with_terminal(job: Job) -> Pod | None:
    """The pod of a debug session that runs now."""
    pods = Pod.objects.filter(attempt__job=job, phase="Running", deleted_at=None)
    return pods.order_by("-attempt__number", "-id").first()


def free_in_queue() -> JobQuerySet:
    """Queued jobs that no launcher has."""
    now = timezone.now()
    return Job.objects.filter(Q(taken_until=None) | Q(taken_until__lt=now), status=JobStatus.QUEUED)


def lost_in_queue() -> JobQuerySet:
    """Queued jobs whose launch message may be lost: a worker died with it, or the broker was away.

    Those of a cluster that does not answer wait for it: asking for each would keep the workers from the others.
    """
    late = free_in_queue().filter(updated_at__lt=timezone.now() - LATE)
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
