"""Pages of runs: start one, watch it, compare two. What people do to one is in `steering`."""

import uuid as uuids
from typing import Any

from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.utils.functional import cached_property
from django.views.generic import TemplateView

from apps.clusters.selectors import default_cluster
from apps.core.errors import InvalidInput
from apps.datasets.selectors import file_paths
from apps.jobs.forms import DebugForm
from apps.jobtemplates.selectors import enabled_templates
from apps.pipelines import comparing, services, watching, words
from apps.pipelines.choices import TaskStatus
from apps.pipelines.forms import StartForm, run_params_form
from apps.pipelines.models import WHOLE, Run, TaskRun, Version
from apps.projects.selectors import secret_references

from .finding import OnePipeline, OneRun, RoomPage

TIMELINE = 200
CHOICES = 20


class Start(OnePipeline, TemplateView):
    """A run of the newest version, or of `?version=`; `?like=<run>` begins with the parameters of another."""

    perm = "run_pipeline"
    template_name = "pipelines/start.html"

    @cached_property
    def chosen(self) -> Version:
        return self.version(self.request.GET.get("version"))

    def params_form(self, data: Any = None) -> Any:
        initial = self.like() if data is None else None
        files = file_paths(self.project, default_cluster())
        form = run_params_form(
            self.chosen.schema, initial=initial, workspace_files=files, secrets=secret_references(self.project)
        )
        return form(data)

    def like(self) -> dict[str, Any] | None:
        uid = uid_of(self.request.GET.get("like"))
        runs = (
            Run.objects.visible_to(self.request.user).filter(pipeline=self.pipeline, uid=uid)
            if uid
            else Run.objects.none()
        )
        return runs.values_list("params", flat=True).first()

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        kwargs.setdefault("start_form", StartForm(initial={"uid": uuids.uuid4()}))
        if "param_form" not in kwargs:
            kwargs["param_form"] = self.params_form()
        return super().get_context_data(pipeline=self.pipeline, version=self.chosen, **kwargs)

    def post(self, request: HttpRequest, **kwargs: Any) -> HttpResponse:
        start_form, param_form = StartForm(request.POST), self.params_form(request.POST)
        if all([start_form.is_valid(), param_form.is_valid()]):
            try:
                run = services.start_run(
                    pipeline=self.pipeline,
                    version=self.chosen,
                    params=param_form.params(),
                    priority=start_form.cleaned_data["priority"],
                    uid=start_form.cleaned_data["uid"],
                    actor=request.user,
                )
            except InvalidInput as refusal:
                _show(refusal, start_form, param_form)
            else:
                return HttpResponseRedirect(self.url("run", uid=run.uid))
        context = self.get_context_data(start_form=start_form, param_form=param_form, **kwargs)
        return self.render_to_response(context, status=422)


def _show(refusal: InvalidInput, start_form: StartForm, param_form: Any) -> None:
    theirs = {path: told for path, told in refusal.fields.items() if path.startswith("params.")}
    param_form.add_refusal(InvalidInput(theirs))
    start_form.take_errors(InvalidInput({path: told for path, told in refusal.fields.items() if path not in theirs}))


class RunPage(OneRun, TemplateView):
    """The graph of a run with its states, a table, a chart, the timeline; to htmx only what changes."""

    perm = "view_project"

    def get_template_names(self) -> list[str]:
        return ["pipelines/_run_state.html"] if self.request.htmx else ["pipelines/run.html"]

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        graph = Version.objects.values_list("graph", flat=True).get(pk=self.run.pipeline_version_id)
        lines = watching.lines_of(self.run, graph)
        context = {
            "run": self.run,
            "lines": (listed := watching.listed(lines)),
            "task_count": len(lines),
            "chart": watching.chart_of(self.run, listed),
            "events": self.run.events.select_related("actor").order_by("-pk")[:TIMELINE],
            "state": {"version": self.run.version, "tasks": watching.states_of(lines)},
        }
        if not self.request.htmx:
            context |= self.page_context(graph)
        return super().get_context_data(**context, **kwargs)

    def page_context(self, graph: dict[str, Any]) -> dict[str, Any]:
        templates = [{"slug": t.slug, "name": t.name, "icon": t.icon} for t in enabled_templates()]
        others = Run.objects.visible_to(self.request.user).filter(pipeline=self.run.pipeline_id).exclude(pk=self.run.pk)
        return {
            "graph": {"graph": graph, "templates": templates, "task_url": self.url("task", uid=self.run.uid)},
            "words": words.of_run(),
            "others": others.only("uid", "created_at", "status").order_by("-pk")[:CHOICES],
        }


class TaskPanel(OneRun, TemplateView):
    """The side panel of `?key=` (and `?index=` for one item): tries, log, outputs, verbs; the items of a fan-out."""

    perm = "view_project"
    template_name = "pipelines/_task.html"

    @cached_property
    def task(self) -> TaskRun:
        key, index = self.request.GET.get("key", ""), self.request.GET.get("index", str(WHOLE))
        try:
            number = int(index[:9])
        except ValueError:
            raise Http404 from None
        return get_object_or_404(self.run.tasks.select_related("job"), key=key[:40], index=number)

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        graph = Version.objects.values_list("graph", flat=True).get(pk=self.run.pipeline_version_id)
        since = self.request.GET.get("since", "")
        items, may_debug = None, "debug_job" in self.permissions
        if self.task.item_count:
            items = watching.items_of(self.run, self.task.key, int(since[:9]) if since.isdecimal() else 0)
        return super().get_context_data(
            run=self.run,
            task=self.task,
            line=watching.Line(self.task, graph["tasks"].get(self.task.key, {})),
            items=items,
            debug_items=watching.items_to_debug(self.run, self.task.key) if items and may_debug else [],
            debug_form=DebugForm(),
            tries=self.task.history.select_related("job").order_by("-number")[:CHOICES],
            marks=[
                (status.value, status.label) for status in (TaskStatus.SUCCEEDED, TaskStatus.FAILED, TaskStatus.SKIPPED)
            ],
            **kwargs,
        )


class Compare(RoomPage, TemplateView):
    """`?left=` and `?right=`: two runs of this project side by side."""

    perm = "view_project"
    template_name = "pipelines/compare.html"

    def find(self, name: str) -> Run:
        uid = uid_of(self.request.GET.get(name))
        if uid is None:
            raise Http404
        runs = Run.objects.visible_to(self.request.user).filter(project=self.project)
        return get_object_or_404(runs.for_lists(), uid=uid)

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        left, right = self.find("left"), self.find("right")
        return super().get_context_data(
            left=left,
            sides=[left, right],
            right=right,
            params=comparing.pairs(left.params, right.params),
            tasks=comparing.task_pairs(left, right),
            **kwargs,
        )


def uid_of(text: str | None) -> uuids.UUID | None:
    try:
        return uuids.UUID(text or "")
    except ValueError:
        return None
