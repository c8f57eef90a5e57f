"""Reads about where projects live on clusters."""

from django.conf import settings

from apps.clusters.models import Cluster
from apps.projects.models import Project

from .models import TenantNamespace


def namespace_name(project: Project) -> str:
    """The project's namespace: the same on every cluster, fixed by its slug, which never changes."""
    return f"{settings.CUBE_NAMESPACE_PREFIX}{project.slug}"


def tenancy_of(project: Project, cluster: Cluster) -> TenantNamespace | None:
    """The row of the last reconciliation, or None when nothing of the project was ever sent to that cluster."""
    return TenantNamespace.objects.filter(project=project, cluster=cluster).first()
