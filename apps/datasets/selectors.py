from apps.clusters.models import Cluster
from apps.projects.models import Project

from .models import Workspace


def workspace_of(project: Project, cluster: Cluster | None) -> Workspace | None:
    if cluster is None:
        return None
    return Workspace.objects.filter(project=project, cluster=cluster).select_related("cluster").first()


def file_paths(project: Project, cluster: Cluster | None, *, suffix: str = "") -> list[str]:
    """Paths last seen in the workspace, to choose from; empty when it was never listed."""
    workspace = workspace_of(project, cluster)
    return [file["path"] for file in workspace.files if file["path"].endswith(suffix)] if workspace else []
