"""For operators: how collecting goes, and what is hidden in logs."""

from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.defaultfilters import filesizeformat
from django.urls import reverse
from django.utils.html import format_html
from django.utils.timesince import timesince
from django.utils.translation import gettext_lazy as _
from unfold.admin import ModelAdmin
from unfold.decorators import display

from apps.core.admin import ReadOnly

from . import health, services
from .models import CollectorReport, LogGap, MaskingPattern, ShipReport


@admin.register(MaskingPattern)
class MaskingPatternAdmin(ModelAdmin):
    """Masking cannot be undone, so each change is in the audit trail."""

    list_display = ["name", "expression", "is_enabled", "updated_at"]
    list_filter = ["is_enabled"]
    search_fields = ["name", "expression"]
    fields = ["name", "expression", "is_enabled", "created_at", "updated_at"]
    readonly_fields = ["created_at", "updated_at"]

    def save_model(self, request: HttpRequest, obj: MaskingPattern, form: Any, change: bool) -> None:
        services.save_pattern(pattern=obj, actor=request.user)

    def delete_model(self, request: HttpRequest, obj: MaskingPattern) -> None:
        services.delete_pattern(pattern=obj, actor=request.user)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[MaskingPattern]) -> None:
        for pattern in queryset:
            services.delete_pattern(pattern=pattern, actor=request.user)


@admin.register(CollectorReport)
class CollectorReportAdmin(ReadOnly, ModelAdmin):
    """Log collection, cluster by cluster, as the collectors report it."""

    list_display = [
        "cluster",
        "state",
        "problem",
        "reported",
        "following",
        "waiting",
        "polling",
        "lag",
        "reconnects",
        "gaps",
        "rate",
        "pending",
        "budget",
        "holder",
    ]
    list_select_related = ["cluster"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[CollectorReport]:
        return super().get_queryset(request).defer("cluster__kubeconfig", "cluster__capabilities")

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        for each in health.collections():
            if each.state != "ok":
                messages.warning(request, f"{each.cluster.name}: {each.sentence}")
        return super().changelist_view(request, {**(extra_context or {}), "title": _("Log collection")})

    @display(
        description=_("state"),
        label={"ok": "success", "late": "warning", "problem": "danger", "silent": "danger"},
    )
    def state(self, report: CollectorReport) -> str:
        return health.state_of(report)

    @admin.display(description=_("reported"), ordering="at")
    def reported(self, report: CollectorReport) -> str:
        return _("%(time)s ago") % {"time": timesince(report.at)}

    @admin.display(description=_("lag"), ordering="lag_seconds")
    def lag(self, report: CollectorReport) -> str:
        return f"{report.lag_seconds:.1f} s"

    @admin.display(description=_("stored"), ordering="bytes_per_second")
    def rate(self, report: CollectorReport) -> str:
        return f"{filesizeformat(report.bytes_per_second)}/s"

    @admin.display(description=_("not yet stored"), ordering="pending_bytes")
    def pending(self, report: CollectorReport) -> str:
        return filesizeformat(report.pending_bytes)

    @admin.display(description=_("budget"), ordering="budget_used")
    def budget(self, report: CollectorReport) -> str:
        return f"{report.budget_used:.0%}"


@admin.register(LogGap)
class LogGapAdmin(ReadOnly, ModelAdmin):
    """Every place where lines are, or may be, missing, newest first, with the way to it."""

    list_display = ["created_at", "cause", "place", "text", "since", "until", "size"]
    list_filter = ["cause", ("stream__job__cluster", admin.RelatedOnlyFieldListFilter), "created_at"]
    list_select_related = ["stream__job__project"]
    search_fields = ["stream__job__project__slug", "stream__job__name", "stream__pod_name"]
    show_full_result_count = False
    fields = ["place", "cause", "text", "since", "until", "size", "created_at"]
    readonly_fields = ["place", "size"]

    @admin.display(description=_("line"))
    def place(self, gap: LogGap) -> str:
        job = gap.stream.job
        url = reverse("jobs:detail", args=[job.project.slug, job.uid])
        where = f"{job.project.slug}/{job.name} · {gap.stream}"
        return format_html('<a href="{}#L{}-{}">{}</a>', url, gap.stream_id, gap.ordinal, where)

    @admin.display(description=_("bytes"), ordering="bytes")
    def size(self, gap: LogGap) -> str:
        return _("not known") if gap.bytes is None else filesizeformat(gap.bytes)


@admin.register(ShipReport)
class ShipReportAdmin(ReadOnly, ModelAdmin):
    """Shipping to the site's own log system, cluster by cluster."""

    list_before_template = "logs/_admin_shipping.html"
    list_display = ["cluster", "problem", "at", "pending_lines", "lag", "sent_records", "failures", "refused", "holder"]
    list_select_related = ["cluster"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[ShipReport]:
        return super().get_queryset(request).defer("cluster__kubeconfig", "cluster__capabilities")

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        return super().changelist_view(request, {**(extra_context or {}), "title": _("Log shipping")})

    @admin.display(description=_("lag"), ordering="lag_seconds")
    def lag(self, report: ShipReport) -> str:
        return f"{report.lag_seconds:.0f} s"
