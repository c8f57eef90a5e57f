"""The editor's page, and what its scripts ask while somebody edits. Nothing but `Save` writes."""

from collections.abc import Mapping
from typing import Any

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.utils.translation import gettext as _
from django.views.generic import TemplateView, View

from apps.clusters.selectors import default_cluster, usable_clusters
from apps.core.errors import InvalidInput, InvalidTransition
from apps.datasets.selectors import file_paths
from apps.jobtemplates.models import TemplateVersion
from apps.jobtemplates.params import params_of
from apps.jobtemplates.selectors import enabled_templates
from apps.pipelines import drafts, selectors, services, words
from apps.pipelines.forms import Panel, TaskForm, initial_of, panel_for
from apps.pipelines.graph.diff import diff
from apps.pipelines.graph.judging import reference_of
from apps.projects.selectors import secret_references

from .finding import OnePipeline, RoomPage, json_of

EMPTY: dict[str, Any] = {"tasks": {}}


class Editor(OnePipeline, TemplateView):
    """The newest version in the editor. Its script fills the page; without one it says so."""

    perm = "edit_pipeline"
    template_name = "pipelines/editor.html"

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        newest = selectors.find_version(self.pipeline)
        editor = {
            "name": self.pipeline.name,
            "base": newest.number if newest else 0,
            "graph": drafts.without_empty_params(newest.graph) if newest else EMPTY,
            "may_run": "run_pipeline" in self.permissions,
            "templates": palette(),
            "urls": {
                **{name: self.url(name) for name in ("check", "panel", "read")},
                **{name: self.pipeline_url(name) for name in ("save", "start", "detail")},
            },
        }
        return super().get_context_data(pipeline=self.pipeline, editor=editor, words=words.of_editor(), **kwargs)


def palette() -> list[dict[str, Any]]:
    """The templates a task may be made of, with the examples a new task begins with."""
    return [
        {
            "slug": template.slug,
            "name": template.name,
            "summary": template.summary,
            "category": template.category,
            "icon": template.icon,
            "number": version.number,
            "params": _examples(version),
        }
        for template in enabled_templates()
        if (version := template.latest)
    ]


def _examples(version: TemplateVersion) -> dict[str, Any]:
    return {param.name: param.ui["example"] for param in params_of(version.schema) if "example" in param.ui}


class Check(RoomPage, View):
    """What is wrong with a draft, and the same draft in the other form: `{graph}` gives YAML, `{yaml}` the graph."""

    perm = "edit_pipeline"
    http_method_names = ["post"]

    def post(self, request: HttpRequest, **kwargs: Any) -> HttpResponse:
        try:
            asked = json_of(request)
            if isinstance(text := asked.get("yaml"), str):
                return JsonResponse(drafts.from_text(text))
            return JsonResponse(drafts.from_graph(asked.get("graph")))
        except InvalidInput as refusal:
            return JsonResponse({"errors": refusal.fields}, status=422)


class TaskPage(RoomPage):
    """The two forms of one task."""

    perm = "edit_pipeline"
    http_method_names = ["post"]

    def task_form(self, task: Mapping[str, Any] | None = None, data: Any = None) -> TaskForm:
        clusters = usable_clusters().defer("kubeconfig", "capabilities").prefetch_related("resource_groups")
        choices = template_choices(str((task or {}).get("template") or ""))
        return TaskForm(data, initial=initial_of(task or {}), templates=choices, clusters=clusters)

    def panel(self, template: str, **asked: Any) -> Panel | None:
        """The form of the template's parameters; None when there is no such template."""
        version = find_template(template)
        if version is None:
            return None
        hints = {
            "workspace_files": file_paths(self.project, default_cluster()),
            "secrets": secret_references(self.project),
        }
        return panel_for(version, **asked, **hints)


class DrawPanel(TaskPage, View):
    """The panel of `{task, expressions}` as HTML. `expressions` names parameters that become expressions."""

    def post(self, request: HttpRequest, **kwargs: Any) -> HttpResponse:
        try:
            asked = json_of(request)
        except InvalidInput as refusal:
            return JsonResponse({"errors": refusal.fields}, status=422)
        task = asked.get("task")
        task = task if isinstance(task, dict) else {}
        chosen = asked.get("expressions")
        names = [name for name in chosen if isinstance(name, str)] if isinstance(chosen, list) else []
        panel = self.panel(str(task.get("template") or ""), params=task.get("params"), expressions=names)
        return render(request, "pipelines/_panel.html", {"task_form": self.task_form(task), "panel": panel})


class ReadPanel(TaskPage, View):
    """What a panel's form says, as fields of the document: null where one is left out."""

    def post(self, request: HttpRequest, **kwargs: Any) -> HttpResponse:
        fields = self.task_form(data=request.POST).written()
        panel = self.panel(
            fields["template"] or "", data=request.POST, expressions=request.POST.getlist("expression")[:200]
        )
        if panel is not None:
            fields["params"] = panel.written() or None
        return JsonResponse({"fields": fields})


def find_template(text: str) -> TemplateVersion | None:
    try:
        reference = reference_of(text)
    except ValueError:
        return None
    return selectors.offered_versions({reference}).get(reference)


def template_choices(chosen: str) -> list[tuple[str, str]]:
    """The newest version of each template, and what is chosen now, whatever that is."""
    choices = {f"{t.slug}@{t.latest.number}": str(t.name) for t in enabled_templates() if t.latest}
    if chosen and chosen not in choices:
        newest = next(
            (label for value, label in choices.items() if value.partition("@")[0] == chosen.partition("@")[0]), ""
        )
        choices[chosen] = _("%(name)s (%(version)s)") % {"name": newest, "version": chosen} if newest else chosen
    return list(choices.items())


class Save(OnePipeline, View):
    """Save `{graph, comment, base}` as the next version: 409 with what differs when `base` is no longer the newest."""

    perm = "edit_pipeline"
    http_method_names = ["post"]

    def post(self, request: HttpRequest, **kwargs: Any) -> HttpResponse:
        try:
            asked = json_of(request)
            graph, base = asked.get("graph"), _whole_number(asked.get("base"))
            comment = str(asked.get("comment") or "")[:300]
            version = services.save_version(
                pipeline=self.pipeline, graph=graph, comment=comment, based_on=base, actor=request.user
            )
        except InvalidInput as refusal:
            return JsonResponse({"errors": refusal.fields}, status=422)
        except services.EditedMeanwhile:
            return JsonResponse(self.conflict(graph), status=409)
        except InvalidTransition as refusal:
            return JsonResponse({"errors": {"pipeline": [str(refusal)]}}, status=422)
        return JsonResponse({"number": version.number, "is_new": version.number != base})

    def conflict(self, graph: Any) -> dict[str, Any]:
        """What somebody else saved meanwhile, and where it differs from what was sent."""
        newest = self.version()
        theirs, mine = drafts.without_empty_params(newest.graph), drafts.without_empty_params(graph)
        return {
            "number": newest.number,
            "author": newest.author.get_username() if newest.author else "",
            "comment": newest.comment,
            "graph": theirs,
            "changes": [vars(change) for change in diff(theirs, mine).changes[:200]],
        }


def _whole_number(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise InvalidInput({"base": _("Say which version was edited: its number, 0 for none.")})
    return value
