"""For operators: people, tokens and the audit trail. Verbs call services; what the machine writes is read-only."""

from collections.abc import Callable, Iterable
from typing import Any, cast

from axes.utils import reset as forget_failed_sign_ins
from django.contrib import admin, messages
from django.contrib.auth.admin import GroupAdmin as StockGroupAdmin
from django.contrib.auth.admin import UserAdmin as StockUserAdmin
from django.contrib.auth.models import Group
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.html import format_html
from django.utils.translation import gettext as _t
from django.utils.translation import gettext_lazy as _
from unfold.admin import ModelAdmin
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm

from apps.core.admin import ReadOnly
from apps.core.errors import DomainError

from . import audit, selectors, services
from .models import ApiToken, AuditEntry, User
from .roles import PlatformRole

admin.site.unregister(Group)


def staff(request: HttpRequest) -> User:
    """Who acts: the admin site lets nobody else in."""
    return cast("User", request.user)


def each(request: HttpRequest, rows: Iterable[Any], act: Callable[[Any], object]) -> int:
    """Do `act` to each row; a refusal becomes a message. Returns how many were done."""
    done = 0
    for row in rows:
        try:
            act(row)
            done += 1
        except DomainError as refusal:
            messages.warning(request, f"{row}: {refusal}")
    return done


@admin.register(Group)
class GroupAdmin(StockGroupAdmin, ModelAdmin):
    pass


@admin.register(User)
class UserAdmin(StockUserAdmin, ModelAdmin):
    """People. An account is deactivated rather than deleted: what it did stays attributable."""

    form = UserChangeForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm
    list_display = ["username", "full_name", "email", "platform_role", "is_active", "last_login"]
    list_filter = ["platform_role", "is_active", "is_superuser"]
    search_fields = ["username", "first_name", "last_name", "email"]
    list_per_page = 50
    actions = ["deactivate", "activate", "unlock"]
    filter_horizontal = ["groups"]
    fieldsets = [
        (None, {"fields": ["username", "password"]}),
        (_("Person"), {"fields": ["first_name", "last_name", "email"]}),
        (_("Access"), {"fields": ["platform_role", "is_active", "is_superuser", "groups", "projects_link"]}),
        (_("Dates"), {"fields": ["last_login", "date_joined"]}),
    ]
    add_fieldsets = [(None, {"fields": ["username", "usable_password", "password1", "password2"]})]

    @admin.display(description=_("name"), ordering="first_name")
    def full_name(self, user: User) -> str | None:
        return user.get_full_name() or None  # which the console writes as a dash

    @admin.display(description=_("projects"))
    def projects_link(self, user: User) -> str:
        url = reverse("admin:projects_membership_changelist") + f"?user__id__exact={user.pk}"
        return format_html('<a href="{}">{}</a>', url, _t("Memberships of this person"))

    def get_readonly_fields(self, request: HttpRequest, obj: User | None = None) -> list[str]:
        fixed = ["last_login", "date_joined", "projects_link", "is_active"]  # is_active: the actions do it whole
        if not selectors.is_platform_admin(request.user):
            fixed.append("platform_role")
        if not request.user.is_superuser:
            fixed += ["is_superuser", "groups"]  # Either could give more than the one who edits holds.
        return fixed

    def has_change_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        if obj is not None and obj.is_superuser and not request.user.is_superuser:
            return False  # Else a platform admin could set a superuser's password.
        return super().has_change_permission(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        return False

    def save_model(self, request: HttpRequest, obj: User, form: Any, change: bool) -> None:
        role = PlatformRole(obj.platform_role)
        if change and "platform_role" in form.changed_data:
            obj.platform_role = form.initial["platform_role"]
        super().save_model(request, obj, form, change)
        action = "user.update" if change else "user.create"
        changed = [name for name in form.changed_data if not name.startswith("password")]
        audit.record(actor=staff(request), action=action, target=obj, detail={"changed": changed})
        if change and "platform_role" in form.changed_data:
            each(request, [obj], lambda user: services.set_platform_role(user=user, role=role, actor=staff(request)))

    def user_change_password(self, request: HttpRequest, id: str, form_url: str = "") -> HttpResponse:
        answer = super().user_change_password(request, id, form_url)
        if request.method == "POST" and answer.status_code == 302:
            audit.record(actor=staff(request), action="user.change_password", target=self.get_object(request, id))
        return answer

    @admin.action(description=_("Deactivate: end sessions, revoke tokens"), permissions=["change"])
    def deactivate(self, request: HttpRequest, queryset: QuerySet[User]) -> None:
        def act(user: User) -> object:
            return services.deactivate_user(user=user, actor=staff(request))

        n = each(request, self._changeable(request, queryset.filter(is_active=True)), act)
        messages.success(request, _t("Deactivated: %(n)d.") % {"n": n})

    @admin.action(description=_("Activate"), permissions=["change"])
    def activate(self, request: HttpRequest, queryset: QuerySet[User]) -> None:
        def act(user: User) -> object:
            return services.activate_user(user=user, actor=staff(request))

        n = each(request, self._changeable(request, queryset.filter(is_active=False)), act)
        messages.success(request, _t("Activated: %(n)d.") % {"n": n})

    @admin.action(description=_("Unlock sign-in after too many attempts"), permissions=["change"])
    def unlock(self, request: HttpRequest, queryset: QuerySet[User]) -> None:
        for user in queryset:
            forget_failed_sign_ins(username=user.username)
            audit.record(actor=staff(request), action="user.unlock", target=user)
        messages.success(request, _t("They may try again."))

    def _changeable(self, request: HttpRequest, users: QuerySet[User]) -> list[User]:
        return [user for user in users if self.has_change_permission(request, user)]


@admin.register(ApiToken)
class ApiTokenAdmin(ReadOnly, ModelAdmin):
    """Tokens: who holds which, when last used. Secrets are not kept, so there is none to show."""

    list_display = ["name", "prefix", "user", "scope", "created_at", "last_used_at", "expires_at", "revoked_at"]
    list_filter = ["scope", "created_at", "last_used_at"]
    list_select_related = ["user"]
    search_fields = ["name", "prefix", "user__username"]
    exclude = ["digest"]
    actions = ["revoke"]

    def has_revoke_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("accounts.delete_apitoken")

    @admin.action(description=_("Revoke"), permissions=["revoke"])
    def revoke(self, request: HttpRequest, queryset: QuerySet[ApiToken]) -> None:
        tokens = queryset.filter(revoked_at=None).select_related("user")
        n = each(request, tokens, lambda token: services.revoke_token(token=token, actor=staff(request)))
        messages.success(request, _t("Revoked: %(n)d.") % {"n": n})


@admin.register(AuditEntry)
class AuditEntryAdmin(ReadOnly, ModelAdmin):
    """Who did, or tried, what."""

    list_display = ["at", "actor_name", "action", "target", "project_slug", "outcome", "ip_address"]
    list_filter = ["outcome", "at", "action", "project_slug", ("actor", admin.RelatedOnlyFieldListFilter)]
    list_filter_submit = True
    search_fields = ["actor_name", "action", "target", "project_slug", "request_id", "ip_address"]
    search_help_text = _("Person, action, target, project, address or request id")
    date_hierarchy = "at"
    list_per_page = 100
    show_full_result_count = False
