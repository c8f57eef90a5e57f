"""Every refused attempt leaves an audit entry, whichever door refused it."""

from collections.abc import Callable

import structlog
from django.http import HttpRequest, HttpResponse

from . import audit

REFUSED = frozenset({401, 403, 429})


class AuditRefusals:
    """Binds the caller's address for the audit trail, then records what the doors refused.

    A 404 counts when a signed-in person asked for something by name: hidden and missing look alike to them, and the
    trail should show who went looking.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        # The address of the connection, which the ASGI server settles behind trusted proxies: a header anybody can
        # send is no evidence.
        structlog.contextvars.bind_contextvars(ip=request.META.get("REMOTE_ADDR") or None)
        response = self.get_response(request)
        record_refusal(request, response)
        return response


def may_be_refusal(response: HttpResponse) -> bool:
    return response.status_code in REFUSED or response.status_code == 404


def record_refusal(request: HttpRequest, response: HttpResponse) -> None:
    """Append an entry when `response` refuses `request`."""
    if not may_be_refusal(response) or getattr(request, "axes_locked_out", False):  # The lock-out told it already.
        return
    match = request.resolver_match
    user = getattr(request, "refused_actor", None) or getattr(request, "user", None)
    names_something = match is not None and bool(match.kwargs)
    if response.status_code == 404 and not (names_something and getattr(user, "is_authenticated", False)):
        return
    route = (match.view_name or match.route) if match else "?"
    audit.record_refused(
        actor=user,
        action=f"refused {request.method} {route}",
        target=request.path,
        project=str(match.kwargs.get("project", "")) if match else "",
        detail={"status": response.status_code},
    )
