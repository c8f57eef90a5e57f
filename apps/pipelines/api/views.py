from dataclasses import asdict
from typing import Any

from django.http import Http404, HttpResponse
from django.utils.text import slugify
from django.utils.translation import gettext as _
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.decorators import action
from rest_framework.mixins import ListModelMixin
from rest_framework.request import Request
from rest_framework.response import Response

from apps.core.api.pagination import NewestFirst
from apps.core.errors import InvalidInput
from apps.pipelines import saving, selectors, services, steering
from apps.pipelines.choices import Launch
from apps.pipelines.graph.diff import diff
from apps.pipelines.graph.documents import arranged, read_graph, write_graph
from apps.pipelines.models import Pipeline, Run, Version
from apps.projects import access
from apps.projects.api.scoping import ProjectObjectViewSet, ProjectViewSet

from .filters import PipelineFilter, RunFilter, TaskFilter
from .serializers import (
    CheckedSerializer,
    CheckSerializer,
    ClearSerializer,
    CopySerializer,
    DescribeSerializer,
    DiffSerializer,
    IgnoreSerializer,
    ImportSerializer,
    MarkSerializer,
    NewPipelineSerializer,
    NewVersionSerializer,
    PipelineSerializer,
    PipelineVersionDetailSerializer,
    PipelineVersionSerializer,
    RerunSerializer,
    RunDetailSerializer,
    RunSerializer,
    StartSerializer,
    TaskRunSerializer,
)

NUMBER = OpenApiParameter("version", int, description="The newest when absent.")


class InOrder(NewestFirst):
    ordering = "pk"


def sent(serializer: Any, request: Request) -> dict[str, Any]:
    """What a request's body says, by a serializer of ours. Raises ValidationError."""
    read = serializer(data=request.data)
    read.is_valid(raise_exception=True)
    return dict(read.validated_data)


def number_in(request: Request, name: str) -> int | None:
    """A version's number from the address; None when it is not there. Raises InvalidInput."""
    text = request.query_params.get(name, "")
    if text and not (text.isascii() and text.isdigit() and len(text) < 10):
        raise InvalidInput({name: _("Must be the number of a version.")})
    return int(text) if text else None


def version_of(pipeline: Pipeline, number: int | None) -> Version:
    version = selectors.find_version(pipeline, number)
    if version is None:
        raise Http404
    return version


class ProjectPipelineViewSet(ListModelMixin, ProjectViewSet):
    """The pipelines of a project: list them, make, check or import one."""

    queryset = Pipeline.objects.with_newest().select_related("project", "created_by")
    serializer_class = PipelineSerializer
    filterset_class = PipelineFilter
    project_permissions = {
        "list": "view_project",
        "create": "edit_pipeline",
        "check_graph": "view_project",
        "import_document": "edit_pipeline",
    }

    @extend_schema(request=NewPipelineSerializer, responses={201: PipelineSerializer})
    def create(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        asked = sent(NewPipelineSerializer, request)
        pipeline = services.create_pipeline(project=self.project, actor=request.user, **asked)
        return Response(self._shown(pipeline), status=201)

    @extend_schema(request=CheckSerializer, responses=CheckedSerializer)
    @action(detail=False, methods=["post"], url_path="check", url_name="check")
    def check_graph(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """What is wrong with a graph, by field, without saving it: 200 also when something is."""
        asked = sent(CheckSerializer, request)
        try:
            graph = saving.checked_graph(read_graph(asked["document"]) if asked["document"] else asked["graph"])
        except InvalidInput as refusal:
            return Response({"problems": refusal.fields, "graph": None, "yaml": ""})
        return Response({"problems": {}, "graph": arranged(graph), "yaml": write_graph(graph)})

    @extend_schema(request=ImportSerializer, responses={201: PipelineSerializer})
    @action(detail=False, methods=["post"], url_path="import", url_name="import")
    def import_document(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """A YAML or JSON text as a new pipeline, or as another version of the one with that name."""
        asked = sent(ImportSerializer, request)
        graph, told = read_graph(asked["document"]), {"comment": asked["comment"], "actor": request.user}
        pipeline = self.get_queryset().filter(name=asked["name"].strip()).first()
        if pipeline is None:
            pipeline = services.create_pipeline(project=self.project, name=asked["name"], graph=graph, **told)
        else:
            services.save_version(pipeline=pipeline, graph=graph, **told)
        return Response(self._shown(pipeline), status=201)

    def _shown(self, pipeline: Pipeline) -> Any:
        return PipelineSerializer(self.get_queryset().get(pk=pipeline.pk)).data


class PipelineViewSet(ProjectObjectViewSet):
    """One pipeline, by its uid."""

    queryset = Pipeline.objects.with_newest().select_related("project", "created_by")
    serializer_class = PipelineSerializer
    pagination_class = NewestFirst
    project_permissions = {
        "retrieve": "view_project",
        "partial_update": "edit_pipeline",
        "versions": "view_project",
        "save": "edit_pipeline",
        "version": "view_project",
        "compare": "view_project",
        "export": "view_project",
        "copy": "view_project",
    }

    def retrieve(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return Response(self.get_serializer(self.get_object()).data)

    @extend_schema(request=DescribeSerializer, responses=PipelineSerializer)
    def partial_update(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        asked, pipeline = sent(DescribeSerializer, request), self.get_object()
        archived = asked.pop("is_archived", None)
        if asked:
            services.describe_pipeline(pipeline=pipeline, actor=request.user, **asked)
        if archived is not None:
            services.set_archived(pipeline=pipeline, archived=archived, actor=request.user)
        return Response(self.get_serializer(self.get_queryset().get(pk=pipeline.pk)).data)

    @extend_schema(responses=PipelineVersionSerializer(many=True))
    @action(detail=True, methods=["get"])
    def versions(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        rows = self.get_object().versions.select_related("author").defer("graph", "schema")
        page = self.paginate_queryset(rows)
        return self.get_paginated_response(PipelineVersionSerializer(page, many=True).data)

    @extend_schema(request=NewVersionSerializer, responses={201: PipelineVersionDetailSerializer})
    @versions.mapping.post
    def save(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Save a version. 409 when somebody saved another since `based_on`."""
        asked = sent(NewVersionSerializer, request)
        version = services.save_version(pipeline=self.get_object(), actor=request.user, **asked)
        return Response(PipelineVersionDetailSerializer(version).data, status=201)

    @extend_schema(responses=PipelineVersionDetailSerializer)
    @action(detail=True, methods=["get"], url_path=r"versions/(?P<number>[0-9]{1,9})")
    def version(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        version = version_of(self.get_object(), int(kwargs["number"]))
        return Response(PipelineVersionDetailSerializer(version).data)

    @extend_schema(
        responses=DiffSerializer,
        parameters=[OpenApiParameter("before", int), OpenApiParameter("after", int)],
    )
    @action(detail=True, methods=["get"], url_path="diff", url_name="diff")
    def compare(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """What differs between two versions; the newest where `after` is absent, the one before where `before` is."""
        after = version_of(self.get_object(), number_in(request, "after"))
        before = version_of(self.get_object(), number_in(request, "before") or max(1, after.number - 1))
        return Response(asdict(diff(before.graph, after.graph)))

    @extend_schema(responses={(200, "application/yaml"): OpenApiTypes.STR}, parameters=[NUMBER])
    @action(detail=True, methods=["get"])
    def export(self, request: Request, *args: Any, **kwargs: Any) -> HttpResponse:
        """The graph as a YAML file, which `import` takes back."""
        pipeline = self.get_object()
        version = version_of(pipeline, number_in(request, "version"))
        answer = HttpResponse(write_graph(version.graph), content_type="application/yaml; charset=utf-8")
        name = f"{slugify(pipeline.name) or 'pipeline'}-v{version.number}.yaml"
        answer["Content-Disposition"] = f'attachment; filename="{name}"'
        return answer

    @extend_schema(request=CopySerializer, responses={201: PipelineSerializer})
    @action(detail=True, methods=["post"])
    def copy(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Copy a version to another project, in which you may edit pipelines, or to the same one under another name."""
        asked = sent(CopySerializer, request)
        project = access.projects_for(request.user, "edit_pipeline").filter(slug=asked["project"]).first()
        if project is None:
            raise InvalidInput({"project": _("There is no such project in which you may edit pipelines.")})
        version = version_of(self.get_object(), asked["version"])
        made = services.copy_pipeline(version=version, project=project, name=asked["name"], actor=request.user)
        shown = Pipeline.objects.visible_to(request.user).with_newest().get(pk=made.pk)
        return Response(PipelineSerializer(shown).data, status=201)


class ProjectRunViewSet(ListModelMixin, ProjectViewSet):
    """The runs of a project: list them, start another."""

    queryset = Run.objects.for_lists()
    serializer_class = RunSerializer
    filterset_class = RunFilter
    project_permissions = {"list": "view_project", "create": "run_pipeline"}

    @extend_schema(request=StartSerializer, responses={201: RunSerializer})
    def create(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        asked = sent(StartSerializer, request)
        uid, number = asked.pop("pipeline"), asked.pop("pipeline_version", None)
        pipelines = Pipeline.objects.visible_to(request.user).filter(project=self.project)
        pipeline = pipelines.select_related("project").filter(uid=uid).first()
        if pipeline is None:
            raise InvalidInput({"pipeline": _("There is no such pipeline in this project.")})
        version = selectors.find_version(pipeline, number)
        if number is not None and version is None:
            raise InvalidInput({"pipeline_version": _("There is no such version.")})
        run = services.start_run(pipeline=pipeline, version=version, trigger=Launch.API, actor=request.user, **asked)
        return Response(RunSerializer(run).data, status=201)


class RunViewSet(ProjectObjectViewSet):
    """One run, by its uid."""

    queryset = Run.objects.for_lists()
    serializer_class = RunDetailSerializer
    pagination_class = InOrder
    project_permissions = {
        "retrieve": "view_project",
        "tasks": "view_project",
        "stop": "run_pipeline",
        "rerun": "run_pipeline",
        "clear": "run_pipeline",
        "mark": "overrule_task",
        "ignore": "overrule_task",
    }

    def retrieve(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return Response(self.get_serializer(self.get_object()).data)

    @extend_schema(responses=TaskRunSerializer(many=True), filters=False)
    @action(detail=True, methods=["get"])
    def tasks(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        rows = self.get_object().tasks.select_related("job").prefetch_related("history__job")
        rows = rows.defer("job__params", "job__resources", "job__message")
        chosen = TaskFilter(request.query_params, queryset=rows)
        if not chosen.is_valid():
            raise InvalidInput({name: [str(e) for e in errors] for name, errors in chosen.errors.items()})
        page = self.paginate_queryset(chosen.qs)
        return self.get_paginated_response(TaskRunSerializer(page, many=True).data)

    @extend_schema(request=None, responses=RunSerializer)
    @action(detail=True, methods=["post"])
    def stop(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return Response(RunSerializer(steering.stop_run(run=self.get_object(), actor=request.user)).data)

    @extend_schema(request=RerunSerializer, responses={201: RunSerializer})
    @action(detail=True, methods=["post"])
    def rerun(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        asked = sent(RerunSerializer, request)
        run = steering.rerun_run(run=self.get_object(), reuse=asked["reuse"], only=asked["task"], actor=request.user)
        return Response(RunSerializer(run).data, status=201)

    @extend_schema(request=ClearSerializer, responses=RunSerializer)
    @action(detail=True, methods=["post"])
    def clear(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        asked, run = sent(ClearSerializer, request), self.get_object()
        if asked["only_failed_items"]:
            run = steering.clear_items(run=run, key=asked["tasks"][0], actor=request.user)
        else:
            run = steering.clear_tasks(run=run, keys=asked["tasks"], downstream=asked["downstream"], actor=request.user)
        return Response(RunSerializer(run).data)

    @extend_schema(request=MarkSerializer, responses=RunSerializer)
    @action(detail=True, methods=["post"])
    def mark(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        asked = sent(MarkSerializer, request)
        run = steering.mark_task(run=self.get_object(), key=asked.pop("task"), actor=request.user, **asked)
        return Response(RunSerializer(run).data)

    @extend_schema(request=IgnoreSerializer, responses=RunSerializer)
    @action(detail=True, methods=["post"])
    def ignore(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        asked = sent(IgnoreSerializer, request)
        run = steering.ignore_failure(run=self.get_object(), key=asked.pop("task"), actor=request.user, **asked)
        return Response(RunSerializer(run).data)
