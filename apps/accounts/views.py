"""Signing in and out, one's own account and tokens. Projects' pages are in their own rooms."""

from typing import Any, cast

from django.conf import settings
from django.contrib import messages
from django.contrib.auth import update_session_auth_hash
from django.contrib.auth.forms import AuthenticationForm
from django.contrib.auth.views import LoginView, LogoutView
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404, render, resolve_url
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.generic import TemplateView, View

from apps.core.errors import DomainError
from apps.core.forms import take_errors

from . import selectors, services
from .forms import PasswordForm, ProfileForm, TokenForm
from .models import User

SHOWN = 100  # tokens on the page; older ones that ended are still in the audit trail


class SignIn(LoginView):
    template_name = "accounts/sign_in.html"
    redirect_authenticated_user = True

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        return super().get_context_data(**{"locked_out": False, **kwargs})


class SignOut(LogoutView):
    """By POST alone, so that no foreign page can sign anybody out with a link."""

    http_method_names = ["post", "options"]


def locked_out(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
    """What axes answers after too many failed sign-ins. The same words whether the account exists or not."""
    minutes = max(1, round(settings.AXES_COOLOFF_TIME * 60))
    context = {
        "form": AuthenticationForm(request),
        "locked_out": True,
        "minutes": minutes,
        "next": request.POST.get("next", ""),
    }
    answer = render(request, "accounts/sign_in.html", context, status=429)
    answer["Retry-After"] = str(minutes * 60)
    return answer


class Mine:
    """The signed-in person, whose own things these pages show. Nobody else's can be named."""

    request: HttpRequest

    @property
    def person(self) -> User:
        return cast("User", self.request.user)


class Account(Mine, TemplateView):
    """Profile, password and the browsers one is signed in with."""

    template_name = "accounts/account.html"

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        # The form writes into its instance while it validates; the page's header should not show what was refused.
        mine = User(first_name=self.person.first_name, last_name=self.person.last_name, email=self.person.email)
        return super().get_context_data(
            **{
                "profile_form": ProfileForm(instance=mine),
                "password_form": PasswordForm(),
                "sessions": selectors.sessions_of(self.person)[:20],
                "this_session": self.request.session.session_key,
                **kwargs,
            }
        )

    def post(self, request: HttpRequest, **kwargs: Any) -> HttpResponse:
        form = ProfileForm(request.POST, instance=User(username=self.person.username))
        if form.is_valid():
            services.update_profile(user=self.person, changes=form.cleaned_data, actor=self.person)
            messages.success(request, _("Your profile was saved."))
            return HttpResponseRedirect(reverse("accounts:account"))
        return self.render_to_response(self.get_context_data(profile_form=form), status=422)


class ChangePassword(Account):
    http_method_names = ["post"]

    def post(self, request: HttpRequest, **kwargs: Any) -> HttpResponse:
        form = PasswordForm(request.POST)
        if form.is_valid():
            asked = form.cleaned_data
            try:
                services.change_password(
                    user=self.person, current=asked["current"], new=asked["new"], actor=self.person
                )
            except DomainError as refusal:
                take_errors(form, refusal)
            else:
                self.stay_signed_in()
                messages.success(request, _("Your password was changed. Other browsers were signed out."))
                return HttpResponseRedirect(reverse("accounts:account"))
        return self.render_to_response(self.get_context_data(password_form=form), status=422)

    def stay_signed_in(self) -> None:
        """The session gets a new key; the others end."""
        before = self.request.session.session_key or ""
        update_session_auth_hash(self.request, self.person)
        services.rename_session(before=before, after=self.request.session.session_key or "")
        services.end_other_sessions(user=self.person, keep=self.request.session.session_key or "", actor=self.person)


class EndOtherSessions(Mine, View):
    http_method_names = ["post"]

    def post(self, request: HttpRequest, **kwargs: Any) -> HttpResponse:
        n = services.end_other_sessions(user=self.person, keep=request.session.session_key or "", actor=self.person)
        messages.success(
            request, ngettext("%(n)d browser was signed out.", "%(n)d browsers were signed out.", n) % {"n": n}
        )
        return HttpResponseRedirect(reverse("accounts:account"))


class Tokens(Mine, TemplateView):
    """One's API tokens. A new secret is in the answer to its own POST and nowhere else, so it is shown once."""

    template_name = "accounts/tokens.html"

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        tokens = selectors.tokens_of(self.person)[:SHOWN]
        return super().get_context_data(**{"form": TokenForm(), "tokens": tokens, **kwargs})

    def post(self, request: HttpRequest, **kwargs: Any) -> HttpResponse:
        form = TokenForm(request.POST)
        if form.is_valid():
            try:
                token, secret = services.create_token(
                    user=self.person,
                    name=form.cleaned_data["name"],
                    scope=form.cleaned_data["scope"],
                    expires_at=form.expires_at(),
                    actor=self.person,
                )
            except DomainError as refusal:
                take_errors(form, refusal)
            else:
                answer = self.render_to_response(self.get_context_data(created=token, secret=secret), status=201)
                answer["Cache-Control"] = "no-store"
                return answer
        return self.render_to_response(self.get_context_data(form=form), status=422)


class RevokeToken(Mine, View):
    http_method_names = ["post"]

    def post(self, request: HttpRequest, **kwargs: Any) -> HttpResponse:
        token = get_object_or_404(selectors.tokens_of(self.person), uid=kwargs["uid"])
        services.revoke_token(token=token, actor=self.person)
        messages.success(request, _("%(name)s was revoked. It stopped working at once.") % {"name": token.name})
        return HttpResponseRedirect(resolve_url("accounts:tokens"))
