"""Errors as RFC 9457 problem documents: what happened, where (field paths) and a stable code.

{"type": "about:blank", "title": "Invalid input", "status": 400, "code": "invalid_input",
 "detail": "…", "errors": [{"field": "resources.cpu", "message": "…"}], "request_id": "…"}
"""

from typing import Any

import structlog
from django.core.exceptions import PermissionDenied, RequestDataTooBig
from django.core.exceptions import ValidationError as ModelError
from django.http import Http404
from rest_framework import exceptions, status
from rest_framework.response import Response
from rest_framework.views import exception_handler, set_rollback

from apps.core.errors import DomainError, InvalidInput, InvalidTransition, NotAllowed

STATUS = {InvalidInput: 400, NotAllowed: 403, InvalidTransition: 409}


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
    return answer


def _from_domain(exc: Exception) -> Response | None:
    if isinstance(exc, InvalidInput):
        errors = [{"field": path, "message": m} for path, messages in exc.fields.items() for m in messages]
        return Response(
            problem(status=400, title="Invalid input", code=exc.code, detail=str(exc), errors=errors),
            status=400,
        )
    if isinstance(exc, DomainError):
        code = next((code for kind, code in STATUS.items() if isinstance(exc, kind)), 409)
        return Response(problem(status=code, title="Refused", code=exc.code, detail=str(exc)), status=code)
    return None


def _from_framework(exc: Exception, context: dict[str, Any]) -> Response | None:
    if isinstance(exc, RequestDataTooBig):
        body = problem(status=413, title="Body too large", code="too_large", detail=str(exc))
        return Response(body, status=status.HTTP_413_REQUEST_ENTITY_TOO_LARGE)
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
    code = "not_found" if isinstance(exc, Http404) else "not_allowed" if isinstance(exc, PermissionDenied) else ""
    detail = response.data.get("detail") if isinstance(response.data, dict) else response.data
    response.data = problem(
        status=response.status_code,
        title=response.status_text,
        code=code or getattr(detail, "code", "refused"),
        detail=str(detail),
    )
    return response
