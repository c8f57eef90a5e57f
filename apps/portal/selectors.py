"""Reads of the home page: a constant number of queries, however many projects and jobs there are."""

from collections import Counter
from dataclasses import dataclass
from typing import Any

from django.db.models import Count, QuerySet

from apps.clusters.models import Cluster
from apps.jobs.choices import waits
from apps.jobs.models import Job
from apps.projects import access
from apps.projects.models import Project

RECENT_JOBS = 12
PROJECTS_SHOWN = 48


@dataclass(frozen=True)
class ProjectCard:
    project: Project
    waiting: int  # queued, or held up by what the cluster lacks
    active: int


def project_cards(user: Any) -> list[ProjectCard]:
    """My projects with what waits and runs in each: two queries, both by index, never over finished jobs."""
    projects = list(access.projects_for(user)[:PROJECTS_SHOWN])
    counted = (
        Job.objects.unfinished()
        .filter(project__in=projects)
        .order_by()
        .values_list("project_id", "status", "reason")
        .annotate(number=Count("pk"))
    )
    totals: Counter[tuple[int, bool]] = Counter()
    for project_id, status, reason, number in counted:
        totals[project_id, waits(status, reason)] += number
    return [
        ProjectCard(project=project, waiting=totals[project.pk, True], active=totals[project.pk, False])
        for project in projects
    ]


def recent_jobs(user: Any) -> QuerySet[Job]:
    """The newest jobs of all my projects."""
    mine = Job.objects.visible_to(user).select_related("project", "submitted_by")
    return mine.order_by("-id")[:RECENT_JOBS]


def clusters() -> QuerySet[Cluster]:
    """Name and health of what is in use. Nobody's kubeconfig is read for it."""
    return Cluster.objects.filter(is_enabled=True).only("slug", "name", "health", "version", "probed_at")
