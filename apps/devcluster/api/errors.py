"""Refusals as Kubernetes words them: every error leaves the server as a `Status` object.

The wording follows k8s.io/apimachinery/pkg/api/errors and is checked against recorded answers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import orjson


def shown(value: Any) -> str:
    """A value inside a message."""
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()


class ApiError(Exception):
    """A refusal that carries the `Status` body to answer with."""

    def __init__(
        self,
        code: int,
        reason: str | None,
        message: str,
        details: dict[str, Any] | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.code, self.reason, self.message = code, reason, message
        self.details, self.headers = details, headers or {}
        self.continue_token = ""

    def status(self) -> dict[str, Any]:
        body: dict[str, Any] = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure"}
        if self.continue_token:
            body["metadata"] = {"continue": self.continue_token}
        body["message"] = self.message
        if self.reason:
            body["reason"] = self.reason
        if self.details is not None:
            body["details"] = self.details
        body["code"] = self.code
        return body


@dataclass(frozen=True, slots=True)
class Cause:
    """One field's complaint; `text` is the message without the field's path."""

    reason: str
    field: str
    text: str

    @classmethod
    def invalid(cls, field: str, value: str, detail: str) -> Cause:
        return cls("FieldValueInvalid", field, f"Invalid value: {value}: {detail}")

    @classmethod
    def required(cls, field: str, detail: str = "") -> Cause:
        return cls("FieldValueRequired", field, "Required value" + (f": {detail}" if detail else ""))

    @classmethod
    def forbidden(cls, field: str, detail: str) -> Cause:
        return cls("FieldValueForbidden", field, f"Forbidden: {detail}")

    @classmethod
    def unsupported(cls, field: str, value: str, supported: list[str]) -> Cause:
        listed = ", ".join(f'"{item}"' for item in supported)
        return cls("FieldValueNotSupported", field, f"Unsupported value: {value}: supported values: {listed}")

    @classmethod
    def duplicate(cls, field: str, value: str) -> Cause:
        return cls("FieldValueDuplicate", field, f"Duplicate value: {value}")

    @classmethod
    def not_found(cls, field: str, value: str) -> Cause:
        return cls("FieldValueNotFound", field, f"Not found: {value}")

    def __str__(self) -> str:
        return f"{self.field}: {self.text}"


def detail_of(name: str, group: str, kind: str) -> dict[str, Any]:
    details: dict[str, Any] = {}
    if name:
        details["name"] = name
    if group:
        details["group"] = group
    details["kind"] = kind
    return details


def qualified(name: str, group: str) -> str:
    return f"{name}.{group}" if group else name


def not_found(plural: str, group: str, name: str) -> ApiError:
    message = f'{qualified(plural, group)} "{name}" not found'
    return ApiError(404, "NotFound", message, detail_of(name, group, plural))


def no_such_resource() -> ApiError:
    return ApiError(404, "NotFound", "the server could not find the requested resource", {})


def method_not_allowed() -> ApiError:
    message = "the server does not allow this method on the requested resource"
    return ApiError(405, "MethodNotAllowed", message, {})


def already_exists(plural: str, group: str, name: str) -> ApiError:
    message = f'{qualified(plural, group)} "{name}" already exists'
    return ApiError(409, "AlreadyExists", message, detail_of(name, group, plural))


def conflict(plural: str, group: str, name: str, why: str = "") -> ApiError:
    why = why or "the object has been modified; please apply your changes to the latest version and try again"
    message = f'Operation cannot be fulfilled on {qualified(plural, group)} "{name}": {why}'
    return ApiError(409, "Conflict", message, detail_of(name, group, plural))


def forbidden(plural: str, group: str, name: str, why: str) -> ApiError:
    target = f' "{name}"' if name else ""
    message = f"{qualified(plural, group)}{target} is forbidden: {why}"
    return ApiError(403, "Forbidden", message, detail_of(name, group, plural))


def bad_request(message: str) -> ApiError:
    return ApiError(400, "BadRequest", message)


def invalid(kind: str, group: str, name: str, causes: list[Cause]) -> ApiError:
    texts = list(dict.fromkeys(map(str, causes)))
    listed = texts[0] if len(texts) == 1 else "[" + ", ".join(texts) + "]"
    details = detail_of(name, group, kind)
    details["causes"] = [{"reason": c.reason, "message": c.text, "field": c.field} for c in causes]
    return ApiError(422, "Invalid", f'{qualified(kind, group)} "{name}" is invalid: {listed}', details)


def invalid_options(options: str, causes: list[Cause]) -> ApiError:
    error = invalid(f"{options}.meta.k8s.io", "", "", causes)
    causes_listed = (error.details or {}).get("causes", [])
    error.details = {"group": "meta.k8s.io", "kind": options, "causes": causes_listed}
    return error


def expired(message: str) -> ApiError:
    return ApiError(410, "Expired", message)


def unauthorized() -> ApiError:
    return ApiError(401, "Unauthorized", "Unauthorized")


def not_implemented(what: str) -> ApiError:
    return ApiError(501, "NotImplemented", f"the development cluster does not offer {what}")
