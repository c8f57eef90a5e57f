"""Where projects live on clusters, for operators to read."""

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from unfold.admin import ModelAdmin

from apps.core.admin import ReadOnly

from .models import TenantNamespace


@admin.register(TenantNamespace)
class TenantNamespaceAdmin(ReadOnly, ModelAdmin):
    list_display = ["name", "project", "cluster", "has_workspace", "reconciled_at"]
    list_filter = ["cluster", "has_workspace"]
    list_select_related = ["project", "cluster"]
    search_fields = ["name", "project__slug"]
    fields = ["project", "cluster", "name", "has_workspace", "reconciled_at"]
    readonly_fields = fields

    def get_queryset(self, request: HttpRequest) -> QuerySet[TenantNamespace]:
        return super().get_queryset(request).defer("cluster__kubeconfig")
