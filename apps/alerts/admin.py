"""For operators: reading, and verbs that call services. Secrets of channels are no field here."""

from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _
from unfold.admin import ModelAdmin

from apps.core.admin import ReadOnly
from apps.core.errors import DomainError

from . import services
from .models import Channel, Delivery, Incident, Rule


@admin.register(Incident)
class IncidentAdmin(ReadOnly, ModelAdmin):
    list_display = ["__str__", "project", "rule", "condition", "count", "opened_at", "closed_at", "snoozed_until"]
    list_filter = ["condition", "project"]
    list_select_related = ["project", "rule", "pipeline", "schedule"]
    search_fields = ["uid", "project__slug", "pipeline__name", "schedule__name"]
    show_full_result_count = False
    actions = ["close"]
    fields = [
        "uid", "project", "rule", "condition", "pipeline", "schedule", "run", "message", "count", "opened_at",
        "last_at", "closed_at", "closed_by", "close_note", "told_at", "snoozed_until", "snoozed_by", "snooze_note",
    ]  # fmt: skip
    readonly_fields = ["uid"]

    def has_close_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.has_perm("alerts.change_incident"))

    @admin.action(description=_("Close selected incidents"), permissions=["close"])
    def close(self, request: HttpRequest, queryset: Any) -> None:
        note = str(_("Closed by an operator."))
        for incident in queryset.open():
            try:
                services.close_incident(incident=incident, note=note, actor=request.user)
            except DomainError as refusal:
                messages.warning(request, f"{incident}: {refusal}")


@admin.register(Rule)
class RuleAdmin(ReadOnly, ModelAdmin):
    list_display = ["name", "project", "pipeline", "schedule", "is_enabled", "snoozed_until"]
    list_filter = ["is_enabled", "project"]
    list_select_related = ["project", "pipeline", "schedule"]
    search_fields = ["name", "uid", "project__slug"]
    fields = [
        "name", "project", "pipeline", "schedule", "on_failure", "on_lateness", "on_pause", "tells_recovery",
        "is_enabled", "since_at", "snoozed_until", "snoozed_by", "snooze_note", "created_by",
    ]  # fmt: skip


@admin.register(Channel)
class ChannelAdmin(ReadOnly, ModelAdmin):
    list_display = ["name", "project", "kind", "host", "is_enabled", "last_sent_at", "problem"]
    list_filter = ["kind", "is_enabled", "project"]
    list_select_related = ["project"]
    search_fields = ["name", "uid", "project__slug", "host"]
    fields = ["name", "project", "kind", "addresses", "host", "is_signed", "is_enabled", "last_sent_at", "problem"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Channel]:
        return super().get_queryset(request).defer("url", "signing_secret")


@admin.register(Delivery)
class DeliveryAdmin(ReadOnly, ModelAdmin):
    list_display = ["subject", "project", "channel", "change", "status", "attempts", "next_at", "problem", "sent_at"]
    list_filter = ["status", "change", "project"]
    list_select_related = ["project", "channel"]
    search_fields = ["uid", "project__slug", "subject"]
    show_full_result_count = False
    exclude = ["payload"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Delivery]:
        return super().get_queryset(request).select_related("channel").defer("channel__url", "channel__signing_secret")
