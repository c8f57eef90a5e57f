from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _
from unfold.admin import ModelAdmin, TabularInline
from unfold.decorators import display

from apps.core.admin import ReadOnly
from apps.core.errors import DomainError

from . import services, steering
from .choices import RUN_UNFINISHED, RunStatus
from .graph.documents import write_graph
from .models import Pipeline, Run, RunEvent, Version


class VersionInline(ReadOnly, TabularInline):
    model = Version
    fields = ["number", "task_count", "comment", "author", "created_at"]
    readonly_fields = ["created_at"]
    extra = 0
    hide_title = True  # it repeats a column

    def get_queryset(self, request: HttpRequest) -> QuerySet[Version]:
        return super().get_queryset(request).defer("graph", "schema")


@admin.register(Pipeline)
class PipelineAdmin(ReadOnly, ModelAdmin):
    """Operators read pipelines, and put them away or back; people save them in the portal."""

    list_display = ["name", "project", "newest", "is_archived", "created_by", "updated_at"]
    list_filter = ["is_archived", "created_at"]
    list_select_related = ["project", "created_by"]
    search_fields = ["name", "uid", "project__slug"]
    show_full_result_count = False
    actions = ["archive", "restore"]
    inlines = [VersionInline]
    fields = [
        "uid", "name", "project", "description", "is_archived", "created_by", "created_at", "updated_at", "graph",
    ]  # fmt: skip
    readonly_fields = ["uid", "created_at", "updated_at", "graph"]

    def get_queryset(self, request: HttpRequest) -> Any:
        return Pipeline.objects.with_newest()

    @admin.display(description=_("newest version"))
    def newest(self, pipeline: Any) -> str:
        return str(pipeline.newest or "-")

    @admin.display(description=_("graph"))
    def graph(self, pipeline: Pipeline) -> str:
        version = pipeline.versions.first()
        return format_html("<pre>{}</pre>", write_graph(version.graph)) if version else "-"

    def has_archive_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.has_perm("pipelines.change_pipeline"))

    @admin.action(description=_("Archive selected pipelines"), permissions=["archive"])
    def archive(self, request: HttpRequest, queryset: Any) -> None:
        for pipeline in queryset:
            services.set_archived(pipeline=pipeline, archived=True, actor=request.user)

    @admin.action(description=_("Restore selected pipelines"), permissions=["archive"])
    def restore(self, request: HttpRequest, queryset: Any) -> None:
        for pipeline in queryset:
            services.set_archived(pipeline=pipeline, archived=False, actor=request.user)


class RunEventInline(ReadOnly, TabularInline):
    model = RunEvent
    fields = ["at", "key", "status", "reason", "text", "actor"]
    extra = 0
    hide_title = True


@admin.register(Run)
class RunAdmin(ReadOnly, ModelAdmin):
    """Operators read runs and stop them; only the machine writes them."""

    list_display = [
        "pipeline",
        "project",
        "status_label",
        "reason",
        "trigger",
        "logical_at",
        "started_by",
        "created_at",
    ]
    list_filter = ["status", "trigger", "created_at"]
    list_select_related = ["project", "pipeline__project", "started_by"]
    search_fields = ["uid", "pipeline__name", "project__slug", "started_by__username"]
    show_facets = admin.ShowFacets.ALLOW
    show_full_result_count = False
    date_hierarchy = "created_at"
    actions = ["stop"]
    inlines = [RunEventInline]
    fields = [
        "uid", "project", "pipeline", "pipeline_version", "status", "reason", "message", "trigger", "logical_at",
        "interval_start", "interval_end", "params", "priority", "parallelism", "attempt", "unfinished_tasks",
        "active_tasks", "failed_tasks", "ignored_tasks", "task_rows", "retries", "started_by", "created_at",
        "started_at", "finished_at", "deadline_at",
    ]  # fmt: skip
    readonly_fields = ["uid", "created_at"]

    def get_queryset(self, request: HttpRequest) -> Any:
        return super().get_queryset(request).select_related("pipeline_version").defer("pipeline_version__graph")

    @display(
        description=_("status"),
        ordering="status",
        label={
            RunStatus.QUEUED.label: "warning",
            RunStatus.RUNNING.label: "info",
            RunStatus.SUCCEEDED.label: "success",
            RunStatus.FAILED.label: "danger",
        },
    )
    def status_label(self, run: Run) -> str:
        return str(run.get_status_display())

    def has_stop_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.has_perm("pipelines.change_run"))

    @admin.action(description=_("Stop selected runs"), permissions=["stop"])
    def stop(self, request: HttpRequest, queryset: Any) -> None:
        for run in queryset.filter(status__in=RUN_UNFINISHED):
            try:
                steering.stop_run(run=run, actor=request.user)
            except DomainError as refusal:
                messages.warning(request, str(refusal))
