"""Django and axes announce sign-ins; the audit trail hears of all of them."""

from typing import Any

from axes.signals import user_locked_out
from django.contrib.auth.signals import user_logged_in, user_logged_out, user_login_failed
from django.dispatch import receiver
from django.http import HttpRequest

from . import audit, services


@receiver(user_logged_in, dispatch_uid="accounts.remember_browser")
def remember_browser(sender: Any, request: HttpRequest | None, user: Any, **kwargs: Any) -> None:
    if request is None or not hasattr(request, "session"):
        return
    if request.session.session_key is None:
        request.session.save()
    services.remember_session(
        user=user,
        session_key=request.session.session_key or "",
        ip=request.META.get("REMOTE_ADDR"),
        user_agent=request.META.get("HTTP_USER_AGENT", ""),
    )


@receiver(user_logged_out, dispatch_uid="accounts.forget_browser")
def forget_browser(sender: Any, request: HttpRequest | None, user: Any, **kwargs: Any) -> None:
    if user is not None and hasattr(request, "session"):
        services.forget_session(user=user, session_key=request.session.session_key)  # type: ignore[union-attr]


@receiver(user_login_failed, dispatch_uid="accounts.record_failed_sign_in")
def record_failed_sign_in(sender: Any, credentials: dict[str, Any], **kwargs: Any) -> None:
    name = str(credentials.get("username", ""))[:150]
    audit.record_refused(actor=None, action="session.sign_in", target=name)


@receiver(user_locked_out, dispatch_uid="accounts.record_lock_out")
def record_lock_out(sender: Any, username: str | None = None, **kwargs: Any) -> None:
    audit.record_refused(actor=None, action="session.lock_out", target=str(username or "")[:150])
