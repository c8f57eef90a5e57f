from typing import Any

from django.http import Http404
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from apps.jobs.models import Attempt, Job
from apps.metrics import selectors
from apps.projects.api.scoping import ProjectViewSet

from .serializers import UsageQuerySerializer, UsageSerializer


class JobUsageViewSet(ProjectViewSet):
    """What a job's pods use, or used, beside what they asked for."""

    queryset = Job.objects.select_related("project")
    lookup_field = "uid"
    serializer_class = UsageSerializer
    pagination_class = None
    filter_backends = []
    project_permissions = {"retrieve": "view_project"}

    @extend_schema(operation_id="projects_jobs_usage", parameters=[UsageQuerySerializer], responses=UsageSerializer)
    def retrieve(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """At most 180 points a series, however long the attempt took."""
        asked = UsageQuerySerializer(data=request.query_params.dict())
        asked.is_valid(raise_exception=True)
        try:
            usage = selectors.usage_of(self.get_object(), number=asked.validated_data.get("attempt"))
        except Attempt.DoesNotExist:
            raise Http404 from None
        return Response(UsageSerializer(usage).data)
