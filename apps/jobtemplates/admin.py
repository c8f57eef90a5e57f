"""Templates for operators: reading, switching on and off, and publishing a version from pasted YAML or JSON."""

import json
from typing import Any

import yaml
from django import forms
from django.contrib import admin, messages
from django.db.models import Count, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.translation import gettext_lazy as _
from unfold.admin import ModelAdmin, TabularInline
from unfold.decorators import action
from unfold.widgets import UnfoldAdminTextareaWidget, UnfoldAdminTextInputWidget

from apps.core.errors import InvalidInput

from . import selectors, services
from .documents import MAX_TEXT, read_document
from .models import JobTemplate, TemplateVersion


class DocumentField(forms.CharField):
    """JSON or YAML text; cleans to the value."""

    widget = UnfoldAdminTextareaWidget

    def clean(self, value: Any) -> Any:
        text = super().clean(value)
        try:
            return read_document(text, at="document")
        except InvalidInput as refusal:
            raise forms.ValidationError(
                [f"{path}: {m}".removeprefix("document: ") for path, found in refusal.fields.items() for m in found]
            ) from None


class PublishForm(forms.Form):
    slug = forms.SlugField(max_length=50, widget=UnfoldAdminTextInputWidget)
    name = forms.CharField(max_length=100, widget=UnfoldAdminTextInputWidget)
    summary = forms.CharField(max_length=200, required=False, widget=UnfoldAdminTextInputWidget)
    schema = DocumentField(max_length=MAX_TEXT, label=_("Parameter schema (YAML or JSON)"))
    body = DocumentField(max_length=MAX_TEXT, label=_("Body (YAML or JSON)"))
    notes = forms.CharField(max_length=300, required=False, widget=UnfoldAdminTextInputWidget)

    def add_refusal(self, refusal: InvalidInput) -> None:
        for path_, found in refusal.fields.items():
            name = path_.partition(".")[0].partition("[")[0]
            for message in found:
                self.add_error(name if name in self.fields else None, f"{path_}: {message}")


def _as_yaml(value: Any) -> str:
    return yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=110)


class VersionInline(TabularInline):
    model = TemplateVersion
    fields = ["number", "notes", "created_at"]
    readonly_fields = fields
    extra = 0
    can_delete = False
    show_change_link = True

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(JobTemplate)
class JobTemplateAdmin(ModelAdmin):
    list_display = ["name", "slug", "category", "is_enabled", "version_count", "updated_at"]
    list_filter = ["is_enabled", "category"]
    show_facets = admin.ShowFacets.ALWAYS
    search_fields = ["slug", "name", "summary"]
    readonly_fields = ["slug", "is_enabled", "created_at", "updated_at"]
    fields = ["slug", "name", "summary", "description", "category", "icon", "position", *readonly_fields[1:]]
    inlines = [VersionInline]
    actions = ["enable", "disable"]
    actions_list = ["publish_new"]
    actions_detail = ["publish_version"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[JobTemplate]:
        return super().get_queryset(request).annotate(_versions=Count("versions"))

    @admin.display(description=_("Versions"), ordering="_versions")
    def version_count(self, template: JobTemplate) -> int:
        return template._versions  # type: ignore[attr-defined]  # annotated above

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False  # a template begins with its first version: "Publish a new template"

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False  # jobs point at its versions; disable it instead

    def has_publish_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        return request.user.has_perm("jobtemplates.add_templateversion")

    def save_model(self, request: HttpRequest, obj: JobTemplate, form: Any, change: bool) -> None:
        words = {key: getattr(obj, key) for key in selectors.WORDS}
        services.describe_template(template=obj, actor=request.user, **words)

    @admin.action(description=_("Offer selected templates"), permissions=["change"])
    def enable(self, request: HttpRequest, queryset: QuerySet[JobTemplate]) -> None:
        for template in queryset:
            services.set_enabled(template=template, enabled=True, actor=request.user)

    @admin.action(description=_("Stop offering selected templates"), permissions=["change"])
    def disable(self, request: HttpRequest, queryset: QuerySet[JobTemplate]) -> None:
        for template in queryset:
            services.set_enabled(template=template, enabled=False, actor=request.user)

    @action(description=_("Publish a new template"), url_path="publish", permissions=["publish"])
    def publish_new(self, request: HttpRequest) -> HttpResponse:
        return self._publish(request, None)

    @action(description=_("Publish a version"), url_path="publish", permissions=["publish"])
    def publish_version(self, request: HttpRequest, object_id: int) -> HttpResponse:
        return self._publish(request, self.get_object(request, str(object_id)))

    def _publish(self, request: HttpRequest, template: JobTemplate | None) -> HttpResponse:
        form = PublishForm(request.POST or None, initial=_initial(template))
        if template:
            form.fields["slug"].disabled = True
        if request.method == "POST" and form.is_valid() and (version := self._try(request, form)):
            messages.success(request, _("%(version)s is the newest version.") % {"version": version})
            return redirect(reverse("admin:jobtemplates_jobtemplate_change", args=[version.template_id]))
        context = {
            **self.admin_site.each_context(request),
            "title": _("Publish a version"),
            "opts": self.model._meta,
            "form": form,
            "original": template,
        }
        return TemplateResponse(request, "admin/jobtemplates/publish.html", context)

    def _try(self, request: HttpRequest, form: PublishForm) -> TemplateVersion | None:
        words = selectors.words_of(form.cleaned_data["slug"]) | form.cleaned_data
        try:
            return services.publish_version(actor=request.user, **words)
        except InvalidInput as refusal:
            form.add_refusal(refusal)
            return None


def _initial(template: JobTemplate | None) -> dict[str, Any]:
    if template is None:
        return {}
    words = {"slug": template.slug, "name": template.name, "summary": template.summary}
    if newest := template.latest:
        words |= {"schema": _as_yaml(newest.schema), "body": _as_yaml(newest.body)}
    return words


@admin.register(TemplateVersion)
class TemplateVersionAdmin(ModelAdmin):
    list_display = ["template", "number", "notes", "created_at"]
    list_filter = ["template"]
    show_facets = admin.ShowFacets.ALWAYS
    list_select_related = ["template"]
    fields = ["template", "number", "notes", "created_at", "schema_text", "body_text"]
    readonly_fields = fields

    @admin.display(description=_("Schema"))
    def schema_text(self, version: TemplateVersion) -> str:
        return json.dumps(version.schema, indent=2, ensure_ascii=False)

    @admin.display(description=_("Body"))
    def body_text(self, version: TemplateVersion) -> str:
        return json.dumps(version.body, indent=2, ensure_ascii=False)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False
