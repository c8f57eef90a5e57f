"""Errors as RFC 9457 problem documents: what happened, where (field paths) and a stable code.

{"type": "about:blank", "title": "Invalid input", "status": 400, "code": "invalid_input",
 "detail": "…", "errors": [{"field": "resources.cpu", "message": "…"}], "request_id": "…"}
"""

from typing import Any

import structlog
from django.core.exceptions import PermissionDenied, RequestDataTooBig, SuspiciousOperation
from django.core.exceptions import ValidationError as ModelError
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBadRequest, JsonResponse
from django.views import defaults
from rest_framework import exceptions, status
from rest_framework.renderers import JSONRenderer
from rest_framework.response import Response
from rest_framework.views import exception_handler, set_rollback

from apps.core.errors import DomainError, InvalidInput, InvalidTransition, NotAllowed

API = "/api/"
STATUS = {InvalidInput: 400, NotAllowed: 403, InvalidTransition: 409}
# Errors of rooms above this one, known by their stable code alone.
BY_CODE = {"cluster_unavailable": 503, "busy": 429}
TITLES = {
    400: "Bad request",
    401: "Sign in first",
    403: "Not allowed",
    404: "Not found",
    405: "Method not allowed",
    406: "Not acceptable",
    409: "Conflict",
    413: "Body too large",
    415: "Unsupported media type",
    429: "Too many requests",
    503: "Cluster unavailable",
}
CODES = {
    Http404: "not_found",
    PermissionDenied: "not_allowed",
    exceptions.PermissionDenied: "not_allowed",
    exceptions.ParseError: "malformed_body",
    exceptions.UnsupportedMediaType: "unsupported_media_type",
    exceptions.MethodNotAllowed: "method_not_allowed",
    exceptions.Throttled: "too_many_requests",
}
NOT_FOUND = "There is nothing here, or it is in a project you are not in."


def field_errors(detail: Any, path: str = "") -> list[dict[str, str]]:
    """Flatten DRF's nested error detail to `[{"field": "params.image", "message": "…"}]`."""
    match detail:
        case dict():
            return [e for key, value in detail.items() for e in field_errors(value, f"{path}.{key}".lstrip("."))]
        case list() if any(isinstance(item, dict | list) for item in detail):
            return [e for i, item in enumerate(detail) for e in field_errors(item, f"{path}[{i}]")]
        case list():
            return [{"field": path.removesuffix("non_field_errors").rstrip("."), "message": str(m)} for m in detail]
        case _:
            return [{"field": path, "message": str(detail)}]


def problem(
    *, status: int, title: str, code: str, detail: str, errors: list[dict[str, str]] | None = None
) -> dict[str, Any]:
    body: dict[str, Any] = {
        "type": "about:blank",
        "title": title,
        "status": status,
        "code": code,
        "detail": detail,
    }
    if errors:
        body["errors"] = errors
    if request_id := structlog.contextvars.get_contextvars().get("request_id"):
        body["request_id"] = request_id
    return body


def problem_response(exc: Exception, context: dict[str, Any]) -> Response | None:
    """DRF's exception handler. Returns None for what is not a refusal: a bug stays a bug (500)."""
    answer = _from_domain(exc) or _from_framework(exc, context)
    if answer is not None:
        set_rollback()
        answer.content_type = "application/problem+json"
        if request := context.get("request"):  # A view that answers in YAML or HTML refuses in JSON all the same.
            request.accepted_renderer, request.accepted_media_type = JSONRenderer(), "application/json"
    return answer


def _from_domain(exc: Exception) -> Response | None:
    if isinstance(exc, InvalidInput):
        errors = [{"field": path, "message": m} for path, messages in exc.fields.items() for m in messages]
        return Response(
            problem(status=400, title="Invalid input", code=exc.code, detail=str(exc), errors=errors),
            status=400,
        )
    if not isinstance(exc, DomainError):
        return None
    if (code := BY_CODE.get(exc.code)) is None:
        code = next((code for kind, code in STATUS.items() if isinstance(exc, kind)), 409)
    title = TITLES.get(code, "Refused")
    headers = {"Retry-After": "15"} if code == 503 else None
    return Response(
        problem(status=code, title=title, code=exc.code, detail=str(exc) or title), status=code, headers=headers
    )


def _from_framework(exc: Exception, context: dict[str, Any]) -> Response | None:
    if isinstance(exc, RequestDataTooBig):
        body = problem(status=413, title="Body too large", code="too_large", detail=str(exc))
        return Response(body, status=status.HTTP_413_REQUEST_ENTITY_TOO_LARGE)
    if isinstance(exc, SuspiciousOperation):
        exc = exceptions.ParseError("The request is not well formed.")
    if isinstance(exc, ModelError):
        exc = exceptions.ValidationError(getattr(exc, "message_dict", None) or exc.messages)
    response = exception_handler(exc, context)
    if response is None:
        return None
    if isinstance(exc, exceptions.ValidationError):
        errors = field_errors(response.data)
        detail = "; ".join(f"{e['field']}: {e['message']}".removeprefix(": ") for e in errors)
        response.data = problem(status=400, title="Invalid input", code="invalid_input", detail=detail, errors=errors)
        return response
    said: Any = response.data.get("detail") if isinstance(response.data, dict) else response.data
    title = TITLES.get(response.status_code, response.status_text)
    code = CODES.get(type(exc)) or str(getattr(said, "code", "refused"))
    text = NOT_FOUND if response.status_code == 404 else str(said)  # Hidden and missing look alike.
    response.data = problem(status=response.status_code, title=title, code=code, detail=text)
    return response


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """`handler404`: a problem document under /api/, the usual page elsewhere."""
    if not request.path.startswith(API):
        return defaults.page_not_found(request, exception)
    return _plain(problem(status=404, title="Not found", code="not_found", detail=NOT_FOUND))


def server_error(request: HttpRequest) -> HttpResponse:
    """`handler500`: the same for a bug, with the request id to quote when reporting it."""
    if not request.path.startswith(API):
        return defaults.server_error(request)
    detail = "Cube failed to answer. The operators' log has the details under this request id."
    return _plain(problem(status=500, title="Server error", code="server_error", detail=detail))


def malformed_address(request: HttpRequest) -> HttpResponse:
    """The answer, problem document or plain text, to an address that can name nothing."""
    detail = "The address holds a NUL character."
    if not request.path.startswith(API):
        return HttpResponseBadRequest(detail, content_type="text/plain; charset=utf-8")
    return _plain(problem(status=400, title="Bad request", code="malformed_address", detail=detail))


def _plain(body: dict[str, Any]) -> HttpResponse:
    return JsonResponse(body, status=body["status"], content_type="application/problem+json")
