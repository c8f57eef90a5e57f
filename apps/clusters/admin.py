"""Clusters for operators. The kubeconfig goes in and never comes out; everything a probe writes is read-only."""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db.models import Count, QuerySet
from django.forms import ModelForm
from django.http import HttpRequest, HttpResponse
from django.utils.decorators import method_decorator
from django.utils.translation import gettext_lazy as _
from django.views.decorators.debug import sensitive_post_parameters
from unfold.admin import ModelAdmin, TabularInline
from unfold.decorators import display
from unfold.widgets import UnfoldAdminTextareaWidget

from apps.core.admin import ReadOnly
from apps.core.errors import InvalidInput

from . import services
from .choices import Health
from .gateway import check_kubeconfig
from .models import Cluster, Node, ResourceGroup


class WriteOnlyTextarea(UnfoldAdminTextareaWidget):
    """Never sends back what was typed, not even beside an error."""

    def format_value(self, value: Any) -> str:
        return ""


class ClusterForm(forms.ModelForm):
    kubeconfig_text = forms.CharField(
        widget=WriteOnlyTextarea(
            attrs={"rows": 14, "spellcheck": "false", "autocomplete": "off", "class": "font-mono"}
        ),
        label=_("Kubeconfig"),
        help_text=_(
            "One cluster with inline data and a token or client certificate, as "
            "“kubectl config view --minify --flatten --raw” prints it. Stored encrypted and never shown again."
        ),
    )

    class Meta:
        model = Cluster
        fields = ["slug", "name", "is_default"]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # Whoever may only read gets a page without these fields.
        if self.instance.pk and "kubeconfig_text" in self.fields:
            field = self.fields["kubeconfig_text"]
            field.required = False
            field.help_text = _("Leave empty to keep the one that is stored. It is never shown.")

    def clean_kubeconfig_text(self) -> str:
        text: str = self.cleaned_data["kubeconfig_text"]
        if text:
            try:
                check_kubeconfig(text)
            except InvalidInput as refusal:
                raise forms.ValidationError(refusal.fields["kubeconfig"]) from None
        return text

    def _get_validation_exclusions(self) -> set[str]:
        """Making one cluster the default takes that away from another: the constraint has nothing to refuse."""
        return {*super()._get_validation_exclusions(), "is_default"}  # type: ignore[misc]


class NodeInline(ReadOnly, TabularInline):
    model = Node
    fields = ["name", "is_ready", "is_schedulable", "gpu_type", "gpu_count"]
    readonly_fields = fields
    extra = 0
    show_change_link = True


@admin.register(Cluster)
class ClusterAdmin(ModelAdmin):
    form = ClusterForm
    list_display = ["slug", "name", "health_label", "version", "node_count", "is_enabled", "is_default", "probed_at"]
    list_filter = ["health", "is_enabled", "has_default_storage"]
    show_facets = admin.ShowFacets.ALWAYS
    search_fields = ["slug", "name"]
    actions = ["probe", "enable", "disable"]
    inlines = [NodeInline]
    probed_fields = [
        "health",
        "health_message",
        "version",
        "served",
        "has_default_storage",
        "runs_local_processes",
        "probed_at",
    ]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Cluster]:
        return super().get_queryset(request).defer("kubeconfig").annotate(nodes_seen=Count("nodes"))

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        own = ["slug", "name", "is_default"]
        if self.has_change_permission(request, obj):
            own.append("kubeconfig_text")
        seen = [(_("What the last probe saw"), {"fields": ["is_enabled", *self.probed_fields]})] if obj else []
        return [(None, {"fields": own}), *seen]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        return ["is_enabled", *self.probed_fields, *(["slug"] if obj else [])]

    def get_inlines(self, request: HttpRequest, obj: Any) -> list[Any]:
        return list(self.inlines) if obj else []

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Jobs point at their cluster: it is disabled, not deleted."""
        return False

    def save_model(self, request: HttpRequest, obj: Cluster, form: ModelForm, change: bool) -> None:
        """The form has checked everything; the services check it again, and write."""
        given = form.cleaned_data
        if not change:
            obj.pk = services.register_cluster(
                slug=given["slug"],
                name=given["name"],
                kubeconfig=given["kubeconfig_text"],
                is_default=given["is_default"],
                actor=request.user,
            ).pk
            return
        if {"name", "is_default"} & set(form.changed_data):
            services.update_cluster(cluster=obj, name=given["name"], is_default=given["is_default"], actor=request.user)
        if given["kubeconfig_text"]:
            services.update_kubeconfig(cluster=obj, kubeconfig=given["kubeconfig_text"], actor=request.user)

    @method_decorator(sensitive_post_parameters("kubeconfig_text"))
    def changeform_view(self, *args: Any, **kwargs: Any) -> HttpResponse:
        return super().changeform_view(*args, **kwargs)

    @display(
        description=_("Health"),
        ordering="health",
        label={
            Health.HEALTHY.label: "success",
            Health.UNREACHABLE.label: "danger",
            Health.REFUSED.label: "danger",
            Health.UNKNOWN.label: "info",
        },
    )
    def health_label(self, obj: Cluster) -> str:
        return str(obj.get_health_display())

    @display(description=_("Nodes"), ordering="nodes_seen")
    def node_count(self, obj: Cluster) -> int:
        return obj.nodes_seen  # type: ignore[attr-defined]

    @display(description=_("API groups and versions"))
    def served(self, obj: Cluster) -> str:
        return ", ".join(obj.capabilities) or "-"

    @display(description=_("Runs local processes"), boolean=True)
    def runs_local_processes(self, obj: Cluster) -> bool:
        return obj.runs_local_processes

    @admin.action(description=_("Probe now"), permissions=["change"])
    def probe(self, request: HttpRequest, queryset: QuerySet[Cluster]) -> None:
        for cluster in queryset:
            probed = services.probe_cluster(cluster_id=cluster.pk)
            if probed is None:
                continue
            good = probed.health == Health.HEALTHY
            said = f"{probed.slug}: {probed.get_health_display()}. {probed.health_message}"
            messages.add_message(request, messages.SUCCESS if good else messages.WARNING, said)

    @admin.action(description=_("Enable: offer for new work"), permissions=["change"])
    def enable(self, request: HttpRequest, queryset: QuerySet[Cluster]) -> None:
        for cluster in queryset:
            services.set_enabled(cluster=cluster, is_enabled=True, actor=request.user)

    @admin.action(description=_("Disable: give no new work"), permissions=["change"])
    def disable(self, request: HttpRequest, queryset: QuerySet[Cluster]) -> None:
        for cluster in queryset:
            services.set_enabled(cluster=cluster, is_enabled=False, actor=request.user)


class ResourceGroupForm(forms.ModelForm):
    class Meta:
        model = ResourceGroup
        fields = ["cluster", "slug", "name", "node_selector"]

    def clean_node_selector(self) -> dict[str, str]:
        selector = self.cleaned_data["node_selector"] or {}
        try:
            services.check_selector(selector)
        except InvalidInput as refusal:
            raise forms.ValidationError(refusal.fields["node_selector"]) from None
        return dict(selector)


@admin.register(ResourceGroup)
class ResourceGroupAdmin(ModelAdmin):
    form = ResourceGroupForm
    list_display = ["slug", "name", "cluster", "node_selector", "is_default"]
    list_filter = ["cluster"]
    list_select_related = ["cluster"]
    search_fields = ["slug", "name"]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        return ["cluster", "slug"] if obj else []

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Jobs and quotas speak of it."""
        return False

    def save_model(self, request: HttpRequest, obj: ResourceGroup, form: ModelForm, change: bool) -> None:
        saved = services.save_resource_group(
            cluster=obj.cluster,
            slug=obj.slug,
            name=obj.name,
            node_selector=obj.node_selector,
            actor=request.user,
            pk=obj.pk,
        )
        obj.pk = saved.pk


@admin.register(Node)
class NodeAdmin(ReadOnly, ModelAdmin):
    list_display = ["name", "cluster", "is_ready", "is_schedulable", "gpu_type", "gpu_count", "cpu", "memory"]
    list_filter = ["cluster", "is_ready", "is_schedulable", "gpu_type"]
    list_select_related = ["cluster"]
    show_facets = admin.ShowFacets.ALWAYS
    search_fields = ["name"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Node]:
        return super().get_queryset(request).defer("cluster__kubeconfig")

    @display(description=_("CPU"))
    def cpu(self, obj: Node) -> str:
        return str(obj.allocatable.get("cpu", ""))

    @display(description=_("Memory"))
    def memory(self, obj: Node) -> str:
        return str(obj.allocatable.get("memory", ""))
