"""For operators: reading, and verbs that call services. Machine-written fields stay the machine's."""

from typing import Any

from django.contrib import admin, messages
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _
from unfold.admin import ModelAdmin

from apps.core.admin import ReadOnly
from apps.core.errors import DomainError

from . import backfills, services, slots
from .choices import SlotStatus
from .models import Backfill, Schedule, Slot


def each(request: HttpRequest, rows: Any, act: Any) -> None:
    """Do it to each; a refusal is a message and stops nobody else's."""
    for row in rows:
        try:
            act(row)
        except DomainError as refusal:
            messages.warning(request, f"{row}: {refusal}")


@admin.register(Schedule)
class ScheduleAdmin(ReadOnly, ModelAdmin):
    list_display = [
        "name", "project", "pipeline", "kind", "cron", "zone", "next_logical_at", "is_paused", "failures_in_a_row",
    ]  # fmt: skip
    list_filter = ["is_paused", "kind", "overlap", "catch_up", "project"]
    list_select_related = ["project", "pipeline"]
    search_fields = ["name", "uid", "project__slug", "pipeline__name"]
    show_full_result_count = False
    actions = ["pause", "resume"]
    fields = [
        "open_in_portal", "uid", "name", "project", "pipeline", "pipeline_version", "params", "priority", "kind",
        "cron", "interval_seconds", "after", "zone", "fold", "start_at", "end_at", "jitter_seconds", "catch_up",
        "catch_up_limit", "catch_up_window_seconds", "max_active_runs", "overlap", "depends_on_past",
        "past_allows_missed", "past_allows_stopped", "waits_for", "wait_seconds", "keep_newest", "run_retries",
        "run_retry_delay_seconds", "deadline_seconds", "pause_after_failures", "is_paused", "paused_note", "paused_at",
        "paused_by", "last_logical_at", "next_logical_at", "next_fire_at", "failures_in_a_row", "created_by",
    ]  # fmt: skip
    readonly_fields = ["open_in_portal", "uid"]

    @admin.display(description=_("portal"))
    def open_in_portal(self, schedule: Schedule) -> str:
        url = reverse("schedules:detail", kwargs={"project": schedule.project.slug, "uid": schedule.uid})
        return format_html('<a href="{}">{}</a>', url, _("Open the schedule's page"))

    def has_pause_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.has_perm("schedules.change_schedule"))

    @admin.action(description=_("Pause selected schedules"), permissions=["pause"])
    def pause(self, request: HttpRequest, queryset: Any) -> None:
        note = str(_("Paused by an operator."))
        each(request, queryset, lambda row: services.pause_schedule(schedule=row, note=note, actor=request.user))

    @admin.action(description=_("Resume selected schedules"), permissions=["pause"])
    def resume(self, request: HttpRequest, queryset: Any) -> None:
        each(request, queryset, lambda row: services.resume_schedule(schedule=row, actor=request.user))


@admin.register(Slot)
class SlotAdmin(ReadOnly, ModelAdmin):
    list_display = ["schedule", "project", "logical_at", "status", "reason", "tries", "started_at", "finished_at"]
    list_filter = ["status", "reason", "project"]
    list_select_related = ["schedule", "project"]
    search_fields = ["uid", "schedule__name", "project__slug"]
    show_full_result_count = False
    actions = ["skip"]

    def has_skip_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.has_perm("schedules.change_slot"))

    @admin.action(description=_("Skip selected waiting times"), permissions=["skip"])
    def skip(self, request: HttpRequest, queryset: Any) -> None:
        waiting = queryset.filter(status=SlotStatus.WAITING)
        each(request, waiting, lambda row: slots.skip_slot(slot=row, actor=request.user))


@admin.register(Backfill)
class BackfillAdmin(ReadOnly, ModelAdmin):
    list_display = ["schedule", "project", "from_at", "to_at", "status", "slot_count", "created_by", "created_at"]
    list_filter = ["status", "project"]
    list_select_related = ["schedule", "project", "created_by"]
    show_full_result_count = False
    actions = ["cancel"]

    def has_cancel_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.has_perm("schedules.change_backfill"))

    @admin.action(description=_("Cancel selected backfills"), permissions=["cancel"])
    def cancel(self, request: HttpRequest, queryset: Any) -> None:
        each(request, queryset, lambda row: backfills.cancel_backfill(backfill=row, actor=request.user))
