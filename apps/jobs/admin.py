from typing import Any

from django.contrib import admin, messages
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.translation import gettext_lazy as _
from unfold.admin import ModelAdmin, TabularInline
from unfold.decorators import display

from apps.core.admin import ReadOnly
from apps.core.errors import DomainError

from . import services
from .choices import UNFINISHED, JobStatus
from .models import Attempt, Job, JobEvent


class AttemptInline(ReadOnly, TabularInline):
    model = Attempt
    fields = ["number", "object_name", "status", "reason", "exit_code", "started_at", "finished_at"]
    extra = 0
    hide_title = True  # it repeats a column


class JobEventInline(ReadOnly, TabularInline):
    model = JobEvent
    fields = ["at", "status", "reason", "text", "actor"]
    extra = 0
    hide_title = True


@admin.register(Job)
class JobAdmin(ReadOnly, ModelAdmin):
    """Operators read jobs and stop them; only the machine writes them."""

    list_display = [
        "name", "project", "status_label", "reason", "template_version", "cluster", "submitted_by", "created_at",
    ]  # fmt: skip
    list_filter = ["status", "reason", "cluster", "template_version__template", "created_at"]
    list_select_related = ["project", "template_version__template", "cluster", "submitted_by"]
    search_fields = ["name", "uid", "project__slug", "submitted_by__username"]
    show_facets = admin.ShowFacets.ALLOW
    show_full_result_count = False
    date_hierarchy = "created_at"
    actions = ["stop"]
    inlines = [AttemptInline, JobEventInline]
    fields = [
        "open_in_portal", "uid", "name", "project", "cluster", "resource_group", "template_version",
        "asked_for", "priority", "status", "reason", "message", "exit_code", "submitted_by", "created_at",
        "started_at", "finished_at",
        "given",
    ]  # fmt: skip
    readonly_fields = ["open_in_portal", "uid", "created_at", "asked_for", "given"]

    @display(
        description=_("status"),
        ordering="status",
        label={
            JobStatus.QUEUED.label: "warning",
            JobStatus.STARTING.label: "info",
            JobStatus.RUNNING.label: "info",
            JobStatus.SUCCEEDED.label: "success",
            JobStatus.FAILED.label: "danger",
        },
    )
    def status_label(self, job: Job) -> str:
        return str(job.get_status_display())

    @admin.display(description=_("portal"))
    def open_in_portal(self, job: Job) -> str:
        url = reverse("jobs:detail", kwargs={"project": job.project.slug, "uid": job.uid})
        return format_html('<a href="{}">{}</a>', url, _("Open the job page"))

    @admin.display(description=_("resources"))
    def asked_for(self, job: Job) -> str:
        return ", ".join(f"{name} {quantity}" for name, quantity in job.resources.items())

    @admin.display(description=_("parameters"))
    def given(self, job: Job) -> str:
        entries = format_html_join("", "<dt>{}</dt><dd><pre>{}</pre></dd>", job.params.items())
        return format_html('<dl class="cube-params">{}</dl>', entries)

    def has_stop_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.has_perm("jobs.stop_job"))

    @admin.action(description=_("Stop selected jobs"), permissions=["stop"])
    def stop(self, request: HttpRequest, queryset: Any) -> None:
        for job in queryset.filter(status__in=UNFINISHED):
            try:
                services.stop_job(job=job, actor=request.user)
            except DomainError as refusal:
                messages.warning(request, str(refusal))
