"""Pages of pipelines themselves: the list, one pipeline with its versions and runs, and what people do with them."""

from typing import Any

from django.contrib import messages
from django.core.paginator import Paginator
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.utils.text import slugify
from django.utils.translation import gettext as _
from django.views.generic import TemplateView, View

from apps.core.errors import InvalidInput
from apps.pipelines import services
from apps.pipelines.forms import NewPipelineForm, PipelineForm
from apps.pipelines.graph import documents
from apps.pipelines.graph.diff import diff
from apps.pipelines.models import Pipeline, Run
from apps.pipelines.overview import lately
from apps.projects import access

from .finding import OnePipeline, RoomPage, Verb

PAGE = 25
VERSIONS = 50
COPY_TARGETS = 200


class PipelineList(RoomPage, TemplateView):
    """By name, with the last runs of each as squares."""

    perm = "view_project"

    def get_template_names(self) -> list[str]:
        return ["pipelines/_table.html"] if self.request.htmx else ["pipelines/list.html"]

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        search, archived = self.request.GET.get("search", "").strip()[:100], "archived" in self.request.GET
        pipelines = Pipeline.objects.visible_to(self.request.user).filter(project=self.project, is_archived=archived)
        if search:
            pipelines = pipelines.filter(name__icontains=search)
        page = Paginator(pipelines.with_newest().order_by("name"), PAGE).get_page(self.request.GET.get("page"))
        return super().get_context_data(
            page=page, rows=lately(page.object_list), search=search, archived=archived, **kwargs
        )


class Create(RoomPage, TemplateView):
    """A name, and perhaps a YAML file; the drawing comes next."""

    perm = "edit_pipeline"
    template_name = "pipelines/form.html"

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        return super().get_context_data(**{"form": NewPipelineForm(), **kwargs})

    def post(self, request: HttpRequest, **kwargs: Any) -> HttpResponse:
        form = NewPipelineForm(request.POST, request.FILES)
        if form.is_valid():
            try:
                pipeline = self.create(form.cleaned_data)
            except InvalidInput as refusal:
                form.take_errors(refusal)
            else:
                return HttpResponseRedirect(self.url("edit", uid=pipeline.uid))
        return self.render_to_response(self.get_context_data(form=form), status=422)

    def create(self, asked: dict[str, Any]) -> Pipeline:
        return services.create_pipeline(
            project=self.project,
            name=asked["name"],
            description=asked["description"],
            graph=documents.read_graph(asked["file"]) if asked["file"] else None,
            comment=_("Imported from a file.") if asked["file"] else "",
            actor=self.request.user,
        )


class Describe(OnePipeline, TemplateView):
    """Change the name and description."""

    perm = "edit_pipeline"
    template_name = "pipelines/form.html"

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        now = {"name": self.pipeline.name, "description": self.pipeline.description}
        return super().get_context_data(**{"pipeline": self.pipeline, "form": PipelineForm(initial=now), **kwargs})

    def post(self, request: HttpRequest, **kwargs: Any) -> HttpResponse:
        form = PipelineForm(request.POST)
        if form.is_valid():
            try:
                services.describe_pipeline(pipeline=self.pipeline, actor=request.user, **form.cleaned_data)
            except InvalidInput as refusal:
                form.take_errors(refusal)
            else:
                return HttpResponseRedirect(self.pipeline_url())
        return self.render_to_response(self.get_context_data(form=form), status=422)


class PipelineDetail(OnePipeline, TemplateView):
    """Its runs and versions; runs page by keyset, so depth costs nothing."""

    perm = "view_project"

    def get_template_names(self) -> list[str]:
        return ["pipelines/_runs.html"] if self.request.htmx else ["pipelines/detail.html"]

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        runs = Run.objects.visible_to(self.request.user).filter(pipeline=self.pipeline)
        if (before := self.request.GET.get("before", "")).isdecimal():
            runs = runs.filter(pk__lt=int(before[:18]))
        page = list(runs.for_lists().order_by("-pk")[: PAGE + 1])
        versions = self.pipeline.versions.select_related("author").defer("graph", "schema")
        return super().get_context_data(
            pipeline=self.pipeline,
            runs=page[:PAGE],
            older=page[PAGE - 1].pk if len(page) > PAGE else None,
            is_first_page=not before,
            versions=versions.order_by("-number")[:VERSIONS],
            targets=self.targets(),
            **kwargs,
        )

    def targets(self) -> Any:
        """The projects it may be copied to, this one first."""
        projects = access.projects_for(self.request.user, "edit_pipeline").only("id", "slug", "name")
        return sorted(projects[:COPY_TARGETS], key=lambda project: project != self.project)


class Export(OnePipeline, View):
    """A version as a YAML file, the newest without a number."""

    perm = "view_project"

    def get(self, request: HttpRequest, **kwargs: Any) -> HttpResponse:
        version = self.version(request.GET.get("version"))
        answer = HttpResponse(documents.write_graph(version.graph), content_type="application/yaml; charset=utf-8")
        name = f"{slugify(self.pipeline.name) or 'pipeline'}-v{version.number}.yaml"
        answer["Content-Disposition"] = f'attachment; filename="{name}"'
        return answer


class Differences(OnePipeline, TemplateView):
    """What version `?to=` changed since `?from=` (the one before it)."""

    perm = "view_project"
    template_name = "pipelines/diff.html"

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        after = self.version(self.request.GET.get("to"))
        before = self.version(self.request.GET.get("from") or max(1, after.number - 1))
        numbers = self.pipeline.versions.order_by("-number").values_list("number", flat=True)[:VERSIONS]
        return super().get_context_data(
            pipeline=self.pipeline,
            before=before,
            after=after,
            diff=diff(before.graph, after.graph),
            numbers=sorted({*numbers, before.number, after.number}, reverse=True),
            **kwargs,
        )


class PipelineVerb(OnePipeline, Verb, View):
    perm = "edit_pipeline"

    def back(self) -> str:
        return self.pipeline_url()


class Copy(PipelineVerb):
    """The newest version as a new pipeline, here or in another project where this person may edit."""

    def act(self, request: HttpRequest) -> str:
        targets = access.projects_for(request.user, "edit_pipeline")
        target = get_object_or_404(targets, slug=request.POST.get("target", ""))
        name = request.POST.get("name", "").strip()
        copy = services.copy_pipeline(version=self.version(), project=target, name=name, actor=request.user)
        messages.success(
            request, _("%(name)s was copied to %(project)s.") % {"name": copy.name, "project": target.name}
        )
        self.project = target
        return self.url("detail", uid=copy.uid)


class Archive(PipelineVerb):
    """Put away, or back with `restore`."""

    def act(self, request: HttpRequest) -> str:
        archived = "restore" not in request.POST
        services.set_archived(pipeline=self.pipeline, archived=archived, actor=request.user)
        words = _("%(name)s is archived. Its runs stay.") if archived else _("%(name)s is back.")
        messages.success(request, words % {"name": self.pipeline.name})
        return self.pipeline_url()


class Restore(PipelineVerb):
    """An old version as the newest again."""

    def act(self, request: HttpRequest) -> str:
        old = self.version(request.POST.get("version") or _raise_404())
        comment = _("Version %(number)d again.") % {"number": old.number}
        new = services.save_version(pipeline=self.pipeline, graph=old.graph, comment=comment, actor=request.user)
        messages.success(request, _("Saved as version %(number)d.") % {"number": new.number})
        return self.pipeline_url()


def _raise_404() -> None:
    raise Http404
