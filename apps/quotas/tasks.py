"""Doors for the machine."""

from celery import shared_task

from apps.clusters.gateway import Unavailable
from apps.clusters.models import Cluster
from apps.projects.models import Project

from . import services


@shared_task(autoretry_for=(Unavailable,), retry_backoff=True, retry_backoff_max=300, max_retries=8)
def reconcile_namespace(*, project_id: int, cluster_id: int, **_: object) -> None:
    project = Project.objects.filter(pk=project_id).first()
    cluster = Cluster.objects.filter(pk=cluster_id, is_enabled=True).first()
    if project is not None and cluster is not None:
        services.reconcile_namespace(project=project, cluster=cluster)
