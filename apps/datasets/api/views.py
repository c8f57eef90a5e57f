from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework.exceptions import NotFound
from rest_framework.request import Request
from rest_framework.response import Response

from apps.clusters.selectors import default_cluster
from apps.datasets import services
from apps.datasets.models import Workspace
from apps.datasets.selectors import workspace_of
from apps.projects.api.scoping import ProjectViewSet

from .serializers import WorkspaceSerializer


class WorkspaceViewSet(ProjectViewSet):
    """The files of a project's workspace, as last listed. POST asks for a fresh listing."""

    queryset = Workspace.objects.all()
    serializer_class = WorkspaceSerializer
    pagination_class = None
    project_permissions = {"list": "view_project", "create": "view_project"}

    @extend_schema(responses=WorkspaceSerializer)
    def list(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        workspace = workspace_of(self.project, default_cluster())
        return Response(WorkspaceSerializer(workspace or Workspace()).data)

    @extend_schema(request=None, responses={202: WorkspaceSerializer})
    def create(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        cluster = default_cluster()
        if cluster is None:
            raise NotFound("No cluster is registered and enabled yet.")
        workspace = services.request_listing(project=self.project, cluster=cluster, actor=request.user)
        return Response(WorkspaceSerializer(workspace).data, status=202)
