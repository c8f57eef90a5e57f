"""Every refused attempt leaves an audit entry, whichever door refused it."""

from collections.abc import Awaitable, Callable
from typing import Any, cast

import structlog
from asgiref.sync import iscoroutinefunction, markcoroutinefunction, sync_to_async
from django.http import HttpRequest, HttpResponse

from . import audit

REFUSED = frozenset({401, 403, 429})


class AuditRefusals:
    """Binds the caller's address for the audit trail, then records what the doors refused.

    A 404 counts when a signed-in person asked for something by name: hidden and missing look alike to them, and the
    trail should show who went looking.
    """

    sync_capable = async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], Any]) -> None:
        self.get_response = get_response
        self.is_async = iscoroutinefunction(get_response)
        if self.is_async:
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> HttpResponse | Awaitable[HttpResponse]:
        # The address of the connection, which the ASGI server settles behind trusted proxies: a header anybody can
        # send is no evidence.
        structlog.contextvars.bind_contextvars(ip=request.META.get("REMOTE_ADDR") or None)
        if self.is_async:
            return self.answer_async(request)
        response = self.get_response(request)
        record_refusal(request, response)
        return cast("HttpResponse", response)

    async def answer_async(self, request: HttpRequest) -> HttpResponse:
        response = await self.get_response(request)
        if may_be_refusal(response):
            await sync_to_async(record_refusal, thread_sensitive=True)(request, response)
        return cast("HttpResponse", response)


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
