"""For operators: projects, who is in them, and the names of their secrets. Verbs call services."""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db.models import Count, QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.translation import gettext as _t
from django.utils.translation import gettext_lazy as _
from unfold.admin import ModelAdmin, TabularInline
from unfold.widgets import UnfoldAdminSelectWidget

from apps.accounts.models import User
from apps.core.admin import ReadOnly
from apps.core.errors import DomainError

from . import services
from .models import Membership, Project, ProjectSecret


class NewProjectForm(forms.ModelForm):
    """A project starts with an owner, who adds everybody else."""

    owner = forms.ModelChoiceField(
        User.objects.filter(is_active=True), label=_("Owner"), widget=UnfoldAdminSelectWidget
    )

    class Meta:
        model = Project
        fields = ["slug", "name", "description"]

    def clean_slug(self) -> str:
        slug: str = self.cleaned_data["slug"]
        if slug in services.RESERVED_SLUGS:
            raise forms.ValidationError(_("This word is reserved. Choose another."))
        return slug


class MembershipInline(TabularInline):
    model = Membership
    extra = 0
    hide_title = True  # it repeats the columns
    fields = ["user", "role", "created_at"]
    readonly_fields = ["created_at"]
    autocomplete_fields = ["user"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Membership]:
        return super().get_queryset(request).select_related("user", "project")


@admin.register(Project)
class ProjectAdmin(ModelAdmin):
    list_display = ["slug", "name", "member_count", "created_at", "open_link"]
    search_fields = ["slug", "name"]
    readonly_fields = ["created_at", "updated_at", "open_link"]
    inlines = [MembershipInline]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Project]:
        return super().get_queryset(request).annotate(members=Count("memberships"))

    @admin.display(description=_("members"), ordering="members")
    def member_count(self, project: Any) -> int:
        return int(project.members)

    @admin.display(description=_("portal"))
    def open_link(self, project: Project) -> str:
        url = reverse("projects:members", kwargs={"project": project.slug})
        return format_html('<a href="{}">{}</a>', url, _t("Open"))

    def get_readonly_fields(self, request: HttpRequest, obj: Project | None = None) -> list[str]:
        return [*self.readonly_fields, "slug"] if obj else []

    def get_fields(self, request: HttpRequest, obj: Project | None = None) -> list[str]:
        if obj is None:
            return ["slug", "name", "description", "owner"]
        return ["slug", "name", "description", "log_retention_days", "created_at", "updated_at", "open_link"]

    def get_form(self, request: HttpRequest, obj: Project | None = None, change: bool = False, **kwargs: Any) -> Any:
        if obj is None:
            kwargs["form"] = NewProjectForm
        return super().get_form(request, obj, change=change, **kwargs)

    def get_inlines(self, request: HttpRequest, obj: Project | None) -> list[type[TabularInline]]:
        return [MembershipInline] if obj else []

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False  # Its jobs and namespaces would be orphans.

    def save_model(self, request: HttpRequest, obj: Project, form: Any, change: bool) -> None:
        if change:
            services.update_project(
                project=obj,
                name=obj.name,
                description=obj.description,
                log_retention_days=obj.log_retention_days,
                actor=request.user,
            )
            return
        made = services.create_project(
            slug=obj.slug,
            name=obj.name,
            description=obj.description,
            owner=form.cleaned_data["owner"],
            actor=request.user,
        )
        obj.pk, obj._state.adding = made.pk, False

    def save_formset(self, request: HttpRequest, form: Any, formset: Any, change: bool) -> None:
        """Every change of a membership is a service call; a refused one leaves the others."""
        formset.save(commit=False)
        for member in formset.deleted_objects:
            self._try(request, services.remove_member, user=member.user, project=member.project)
        for member, changed in formset.changed_objects:
            if "user" in changed:  # Another person in an old row: the one before leaves.
                before = Membership.objects.select_related("user").get(pk=member.pk).user
                self._try(request, services.remove_member, user=before, project=member.project)
            self._try(request, services.set_role, user=member.user, project=member.project, role=member.role)
        for member in formset.new_objects:
            self._try(request, services.set_role, user=member.user, project=member.project, role=member.role)

    @staticmethod
    def _try(request: HttpRequest, verb: Any, **asked: Any) -> None:
        try:
            verb(actor=request.user, **asked)
        except DomainError as refusal:
            messages.error(request, str(refusal))


@admin.register(Membership)
class MembershipAdmin(ReadOnly, ModelAdmin):
    """Who is where. Roles are changed on the project."""

    list_display = ["user", "project", "role", "created_at"]
    list_filter = ["role", ("user", admin.RelatedOnlyFieldListFilter)]
    list_select_related = ["user", "project"]
    search_fields = ["user__username", "project__slug"]


@admin.register(ProjectSecret)
class ProjectSecretAdmin(ReadOnly, ModelAdmin):
    """Names and keys. The values are not even read from the database."""

    list_display = ["name", "project", "kind", "key_names", "version", "updated_at"]
    list_filter = ["kind"]
    list_select_related = ["project"]
    search_fields = ["name", "project__slug"]
    fields = ["project", "name", "kind", "key_names", "version", "created_at", "updated_at"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[ProjectSecret]:
        return super().get_queryset(request).defer("data")

    @admin.display(description=_("keys"))
    def key_names(self, secret: ProjectSecret) -> str:
        return ", ".join(secret.keys)
