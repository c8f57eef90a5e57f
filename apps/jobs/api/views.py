from typing import Any

from django.db.models import QuerySet
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.decorators import action
from rest_framework.mixins import ListModelMixin
from rest_framework.request import Request
from rest_framework.response import Response

from apps.jobs import debugging, preview, services
from apps.jobs.models import Job
from apps.projects.api.scoping import ProjectObjectViewSet, ProjectViewSet

from .filters import JobFilter
from .serializers import DebugSerializer, JobDetailSerializer, JobSerializer, ManifestsSerializer, SubmitSerializer

RELATED = ("project", "cluster", "template_version__template", "submitted_by", "rerun_of", "debug_of")
ONE = Job.objects.select_related(*RELATED).defer("cluster__kubeconfig")  # it would be decrypted for nothing


class ProjectJobViewSet(ListModelMixin, ProjectViewSet):
    """The jobs of a project: list them, submit another."""

    queryset = Job.objects.for_lists()
    serializer_class = JobSerializer
    filterset_class = JobFilter
    project_permissions = {"list": "view_project", "create": "submit_job"}

    @extend_schema(
        request=SubmitSerializer,
        responses={201: JobSerializer, 200: ManifestsSerializer},
        parameters=[OpenApiParameter("dry_run", bool, description="Answer with the manifests; submit nothing.")],
    )
    def create(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        serializer = SubmitSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        asked = {"project": self.project, "actor": request.user, **serializer.validated_data}
        if request.query_params.get("dry_run") in {"true", "1", "All"}:
            return Response(preview.as_answer(services.draft_job(**asked)))
        return Response(JobSerializer.shown(services.submit_job(**asked)), status=201)


class JobViewSet(ProjectObjectViewSet):
    """One job, by its uid."""

    queryset: QuerySet[Job] = ONE.prefetch_related("attempts__pods", "events__actor")
    serializer_class = JobDetailSerializer
    lookup_field = "uid"
    project_permissions = {
        "retrieve": "view_project",
        "manifests": "view_project",
        "stop": "stop_job",
        "rerun": "submit_job",
        "debug": "debug_job",
        "destroy": "delete_job",
    }

    def retrieve(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return Response(self.get_serializer(self.get_object()).data)

    @extend_schema(request=None, responses=JobDetailSerializer)
    @action(detail=True, methods=["post"])
    def stop(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        job = services.stop_job(job=self.get_object(), actor=request.user)
        return Response(JobSerializer.shown(job))

    @extend_schema(request=None, responses={201: JobDetailSerializer})
    @action(detail=True, methods=["post"])
    def rerun(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        job = services.rerun_job(job=self.get_object(), actor=request.user)
        return Response(JobDetailSerializer.shown(job), status=201)

    @extend_schema(request=DebugSerializer, responses={201: JobDetailSerializer})
    @action(detail=True, methods=["post"])
    def debug(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Start the job's container idle: a debug session, for terminals in the browser."""
        serializer = DebugSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        job = debugging.debug_job(job=self.get_object(), actor=request.user, **serializer.validated_data)
        return Response(JobDetailSerializer.shown(job), status=201)

    @extend_schema(responses=ManifestsSerializer)
    @action(detail=True, methods=["get"])
    def manifests(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return Response(preview.as_answer(self.get_object()))

    def destroy(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        services.delete_job(job=self.get_object(), actor=request.user)
        return Response(status=204)
