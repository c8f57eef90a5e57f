"""Reads of the home page: a constant number of queries, however many projects and jobs there are."""

from dataclasses import dataclass
from typing import Any

from django.db.models import Count, QuerySet

from apps.clusters.models import Cluster
from apps.jobs.choices import ACTIVE, WAITING, JobStatus
from apps.jobs.models import Job
from apps.projects import access
from apps.projects.models import Project

RECENT_JOBS = 12
PROJECTS_SHOWN = 48


@dataclass(frozen=True)
class ProjectCard:
    project: Project
    waiting: int
    active: int


def project_cards(user: Any) -> list[ProjectCard]:
    """My projects with what waits and runs in each: two queries, both by index, never over finished jobs."""
    projects = list(access.projects_for(user)[:PROJECTS_SHOWN])
    counted = (
        Job.objects.unfinished()
        .filter(project__in=projects)
        .order_by()
        .values_list("project_id", "status")
        .annotate(number=Count("pk"))
    )
    counts = {(project, status): number for project, status, number in counted}
    return [
        ProjectCard(
            project=project,
            waiting=_total(counts, project.pk, WAITING),
            active=_total(counts, project.pk, ACTIVE),
        )
        for project in projects
    ]


def _total(counts: dict[tuple[int, str], int], project: int, statuses: frozenset[JobStatus]) -> int:
    return sum(counts.get((project, status), 0) for status in statuses)


def recent_jobs(user: Any) -> QuerySet[Job]:
    """The newest jobs of all my projects."""
    mine = Job.objects.visible_to(user).select_related("project", "submitted_by")
    return mine.order_by("-id")[:RECENT_JOBS]


def clusters() -> QuerySet[Cluster]:
    """Name and health of what is in use. Nobody's kubeconfig is read for it."""
    return Cluster.objects.filter(is_enabled=True).only("slug", "name", "health", "version", "probed_at")
