import re
import time
from collections.abc import AsyncGenerator, Callable
from functools import partial
from typing import Any

from channels.db import database_sync_to_async
from django.http import HttpResponseBase, StreamingHttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request

from apps.accounts.models import ApiToken
from apps.accounts.selectors import may_still_connect
from apps.jobs.models import Job
from apps.logs import reading, writers
from apps.projects import access
from apps.projects.api.scoping import ProjectObjectViewSet

from .renderers import NdjsonRenderer, TextRenderer, ZipRenderer
from .serializers import LogQuerySerializer

NDJSON, TEXT, ZIP = (each.media_type for each in (NdjsonRenderer, TextRenderer, ZipRenderer))
ASK_AGAIN_SECONDS = 15.0


async def while_allowed(pages: AsyncGenerator[bytes, None], may: Callable[[], bool]) -> AsyncGenerator[bytes, None]:
    """What `pages` gives until `may` says no: a job is followed for days, and a membership may end sooner."""
    asked = time.monotonic()
    try:
        async for page in pages:
            if time.monotonic() - asked >= ASK_AGAIN_SECONDS:
                if not await database_sync_to_async(may)():
                    return
                asked = time.monotonic()
            yield page
    finally:
        await pages.aclose()


def may_still_read(request: Request, job: Job) -> bool:
    """Whether account, token or session, and role of the one who asked are what they were."""
    token = request.auth if isinstance(request.auth, ApiToken) else None
    user = may_still_connect(user=request.user, token=token, session=request.session if token is None else None)
    return user is not None and access.can(user, "view_project", job.project)


class JobLogViewSet(ProjectObjectViewSet):
    """The log of a job, all its pods merged by time, also when the pods are gone."""

    queryset = Job.objects.select_related("project")
    lookup_field = "uid"
    serializer_class = LogQuerySerializer
    renderer_classes = [TextRenderer, NdjsonRenderer, ZipRenderer]
    pagination_class = None
    filter_backends = []
    project_permissions = {"retrieve": "view_project"}

    @extend_schema(
        operation_id="jobs_logs",
        parameters=[
            LogQuerySerializer,
            OpenApiParameter("since", OpenApiTypes.DATETIME, description="Only lines stamped at or after this time."),
            OpenApiParameter("until", OpenApiTypes.DATETIME, description="Only lines stamped before this time."),
        ],
        responses={
            (200, TEXT): OpenApiTypes.STR,
            (200, NDJSON): OpenApiTypes.STR,
            (200, ZIP): OpenApiTypes.BINARY,
        },
    )
    def retrieve(self, request: Request, *args: Any, **kwargs: Any) -> HttpResponseBase:
        """Text; with `Accept: application/x-ndjson` one JSON object a line; or a zip file with a file per container.

        `follow` streams until the job ends, each line once it is stored.
        """
        job: Job = self.get_object()
        query = LogQuerySerializer(data=request.query_params.dict())
        query.is_valid(raise_exception=True)
        asked, renderer = query.validated_data, request.accepted_renderer
        response = StreamingHttpResponse(
            while_allowed(self.pages(job, query), lambda: may_still_read(request, job)),
            content_type=ZIP if renderer.format == ZipRenderer.format else f"{renderer.media_type}; charset=utf-8",
        )
        # What a job prints is text for people and nothing for browsers.
        response["X-Content-Type-Options"] = "nosniff"
        response["Cache-Control"] = "no-store"
        response["X-Accel-Buffering"] = "no"  # A proxy that buffers would hold a follow back.
        if asked["download"] or renderer.format == ZipRenderer.format:
            name = re.sub(r"[^a-z0-9-]", "-", job.name)[:63]
            name = f"{name}-{str(job.uid)[:8]}.{renderer.ending}"
            response["Content-Disposition"] = f'attachment; filename="{name}"'
        return response

    def pages(self, job: Job, query: LogQuerySerializer) -> AsyncGenerator[bytes, None]:
        asked, choice = query.validated_data, query.choice
        text = partial(writers.Text, timestamps=asked["timestamps"])
        renderer = self.request.accepted_renderer
        if renderer.format == ZipRenderer.format:
            return reading.zip_log(job_id=job.pk, job_uid=job.uid, chosen=choice.chosen, form=text, ending="log")
        form = writers.Ndjson() if renderer.format == NdjsonRenderer.format else text()
        return reading.stream_log(job_id=job.pk, job_uid=job.uid, choice=choice, follow=asked["follow"], form=form)
