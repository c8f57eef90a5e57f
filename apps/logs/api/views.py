import re
from typing import Any

from django.http import HttpResponseBase, StreamingHttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request

from apps.jobs.models import Job
from apps.logs import reading
from apps.projects.api.scoping import ProjectObjectViewSet

from .renderers import NdjsonRenderer, TextRenderer
from .serializers import LogQuerySerializer

NDJSON, TEXT = "application/x-ndjson", "text/plain"


class JobLogViewSet(ProjectObjectViewSet):
    """The log of a job, all its pods merged by time, also when the pods are gone."""

    queryset = Job.objects.select_related("project")
    lookup_field = "uid"
    serializer_class = LogQuerySerializer
    renderer_classes = [TextRenderer, NdjsonRenderer]
    pagination_class = None
    filter_backends = []
    project_permissions = {"retrieve": "view_project"}

    @extend_schema(
        operation_id="jobs_logs",
        parameters=[
            LogQuerySerializer,
            OpenApiParameter("since", OpenApiTypes.DATETIME, description="Only lines stamped at or after this time."),
        ],
        responses={(200, TEXT): OpenApiTypes.STR, (200, NDJSON): OpenApiTypes.STR},
    )
    def retrieve(self, request: Request, *args: Any, **kwargs: Any) -> HttpResponseBase:
        """Text, or with `Accept: application/x-ndjson` one JSON object a line. `follow` streams until the job ends."""
        job: Job = self.get_object()
        query = LogQuerySerializer(data=request.query_params.dict())
        query.is_valid(raise_exception=True)
        asked = query.validated_data
        is_ndjson = request.accepted_renderer.format == NdjsonRenderer.format
        response = StreamingHttpResponse(
            reading.stream_log(
                job_id=job.pk,
                job_uid=job.uid,
                choice=reading.Choice(
                    pod=asked.get("pod", ""),
                    container=asked.get("container", ""),
                    since=asked.get("since", b""),
                    tail=asked.get("tail"),
                ),
                follow=asked["follow"],
                writer=reading.as_ndjson() if is_ndjson else reading.as_text(timestamps=asked["timestamps"]),
            ),
            content_type=f"{NDJSON if is_ndjson else TEXT}; charset=utf-8",
        )
        # What a job prints is text for people and nothing for browsers.
        response["X-Content-Type-Options"] = "nosniff"
        response["Cache-Control"] = "no-store"
        response["X-Accel-Buffering"] = "no"  # A proxy that buffers would hold a follow back.
        if asked["download"]:
            name = re.sub(r"[^a-z0-9-]", "-", job.name)[:63]
            ending = "ndjson" if is_ndjson else "log"
            response["Content-Disposition"] = f'attachment; filename="{name}-{str(job.uid)[:8]}.{ending}"'
        return response
