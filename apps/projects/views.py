"""Pages about a project itself: its members, secrets and settings."""

from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404, resolve_url
from django.utils.translation import gettext as _
from django.views.generic import TemplateView, View

from apps.accounts.selectors import person
from apps.core.errors import DomainError, InvalidInput
from apps.core.forms import take_errors

from . import access, refusal, selectors, services
from .choices import SecretKind
from .forms import SECRET_FORMS, MemberForm, RoleForm, SecretForm, SettingsForm
from .models import Membership
from .pages import ProjectPage


class Members(ProjectPage, TemplateView):
    """Who is in the project and what each role may do. Owners also see the controls."""

    perm = "view_project"
    method_perms = {"post": "manage_members"}
    template_name = "projects/members.html"

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        return super().get_context_data(
            **{
                "members": selectors.members_of(self.project),
                "roles": selectors.explained_roles(),
                "form": MemberForm(),
                **kwargs,
            }
        )

    def post(self, request: HttpRequest, **kwargs: Any) -> HttpResponse:
        form = MemberForm(request.POST)
        if form.is_valid():
            user = person(form.cleaned_data["username"])
            if user is None:
                form.add_error("username", _("There is no active user with this name."))
            elif selectors.members_of(self.project).filter(user=user).exists():
                form.add_error("username", _("This person is a member already. Change the role in the list."))
            else:
                return self.add(request, user, form)
        return self.render_to_response(self.get_context_data(form=form), status=422)

    def add(self, request: HttpRequest, user: Any, form: MemberForm) -> HttpResponse:
        try:
            services.set_role(project=self.project, user=user, role=form.cleaned_data["role"], actor=request.user)
        except DomainError as error:
            take_errors(form, error)
            return self.render_to_response(self.get_context_data(form=form), status=422)
        messages.success(request, _("%(user)s is now a member.") % {"user": user.display_name})
        return HttpResponseRedirect(resolve_url("projects:members", project=self.project.slug))


class OneMember(ProjectPage, View):
    """A POST that changes one membership and comes back to the list."""

    http_method_names = ["post"]

    def act(self, request: HttpRequest, member: Membership) -> str:
        """Do it, and say what happened."""
        raise NotImplementedError  # abstract

    def post(self, request: HttpRequest, **kwargs: Any) -> HttpResponse:
        member = get_object_or_404(selectors.members_of(self.project), user__username=kwargs["username"])
        try:
            messages.success(request, self.act(request, member))
        except DomainError as error:
            messages.error(request, str(error))
        if not access.can(request.user, Members.perm, self.project):  # They left: the list is no longer theirs to see.
            return HttpResponseRedirect("/")
        return HttpResponseRedirect(resolve_url("projects:members", project=self.project.slug))


class ChangeRole(OneMember):
    perm = "manage_members"

    def act(self, request: HttpRequest, member: Membership) -> str:
        form = RoleForm(request.POST)
        if not form.is_valid():
            raise InvalidInput({"role": _("There is no such role.")})
        role = form.cleaned_data["role"]
        changed = services.set_role(project=self.project, user=member.user, role=role, actor=request.user)
        return _("%(user)s is now %(role)s.") % {
            "user": member.user.display_name,
            "role": changed.get_role_display(),
        }


class RemoveMember(OneMember):
    """Owners remove anybody; everybody may leave."""

    perm = "view_project"

    def act(self, request: HttpRequest, member: Membership) -> str:
        leaves = member.user_id == request.user.pk
        if not leaves and "manage_members" not in self.permissions:
            raise PermissionDenied(refusal.sentence("manage_members", self.project))
        services.remove_member(project=self.project, user=member.user, actor=request.user)
        if leaves:
            return _("You left %(project)s.") % {"project": self.project.name}
        return _("%(user)s is no longer a member.") % {"user": member.user.display_name}


class Secrets(ProjectPage, TemplateView):
    """Names and keys of the project's secrets; operators also write and delete them. Values are never shown."""

    perm = "view_project"
    method_perms = {"post": "manage_secrets"}
    template_name = "projects/secrets.html"

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        kind = self.kind(self.request.GET)
        replaced = str(self.request.GET.get("name", ""))[:50]
        return super().get_context_data(
            **{
                "secrets": selectors.secrets_of(self.project),
                "kinds": SecretKind.choices,
                "kind": kind,
                "form": SECRET_FORMS[kind](initial={"name": replaced}),
                **kwargs,
            }
        )

    @staticmethod
    def kind(asked: Any) -> str:
        kind = asked.get("kind", "")
        return kind if kind in SECRET_FORMS else SecretKind.OPAQUE.value

    def post(self, request: HttpRequest, **kwargs: Any) -> HttpResponse:
        kind = self.kind(request.POST)
        form = SECRET_FORMS[kind](request.POST)
        if form.is_valid() and self.save(request, form, kind):
            messages.success(request, _("The secret %(name)s was saved.") % {"name": form.cleaned_data["name"]})
            return HttpResponseRedirect(resolve_url("projects:secrets", project=self.project.slug))
        return self.render_to_response(self.get_context_data(form=form, kind=kind), status=422)

    def save(self, request: HttpRequest, form: SecretForm, kind: str) -> bool:
        try:
            services.set_secret(
                project=self.project,
                name=form.cleaned_data["name"],
                kind=SecretKind(kind),
                data=form.data_as_asked(),
                actor=request.user,
            )
        except DomainError as error:
            take_errors(form, error)
            return False
        return True


class DeleteSecret(ProjectPage, View):
    perm = "manage_secrets"
    http_method_names = ["post"]

    def post(self, request: HttpRequest, **kwargs: Any) -> HttpResponse:
        secret = get_object_or_404(selectors.secrets_of(self.project), name=kwargs["name"])
        services.delete_secret(secret=secret, actor=request.user)
        messages.success(request, _("The secret %(name)s was deleted.") % {"name": secret.name})
        return HttpResponseRedirect(resolve_url("projects:secrets", project=self.project.slug))


class Settings(ProjectPage, TemplateView):
    """Name and description."""

    perm = "change_project"
    template_name = "projects/settings.html"

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        return super().get_context_data(**{"form": SettingsForm(instance=self.project), **kwargs})

    def post(self, request: HttpRequest, **kwargs: Any) -> HttpResponse:
        # Its own instance: the page keeps the saved name in its header while a refused one stands in the field.
        form = SettingsForm(request.POST, instance=type(self.project)(slug=self.project.slug))
        if form.is_valid():
            try:
                services.update_project(project=self.project, actor=request.user, **form.cleaned_data)
            except DomainError as error:
                take_errors(form, error)
            else:
                messages.success(request, _("The settings were saved."))
                return HttpResponseRedirect(resolve_url("projects:settings", project=self.project.slug))
        return self.render_to_response(self.get_context_data(form=form), status=422)
