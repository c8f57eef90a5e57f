"""What an API server's refusals mean, shared by the synchronous and the asynchronous face."""

from collections.abc import Mapping
from typing import Any, cast

import orjson
from django.utils.translation import gettext as _

from .base import (
    AlreadyExists,
    Conflict,
    Forbidden,
    GatewayError,
    Invalid,
    Manifest,
    NotFound,
    Unavailable,
    VersionExpired,
)

LONGEST_MESSAGE = 2000
NUL = rb"\u0000"  # as JSON writes it
# Server-side apply answers 500 where the manifest itself is wrong (1.36: an unknown field); retrying would not help.
BAD_APPLY = "failed to create typed patch object"


def refusal(status: int, body: bytes) -> GatewayError:
    """The error for an HTTP answer of 300 and above; `body` is a Status object or whatever a proxy said instead."""
    return status_refusal(parse_status(status, body))


def status_refusal(status: Mapping[str, Any]) -> GatewayError:
    """The error for a Status object, from an answer's body or from an ERROR event of a watch."""
    code, reason = int(status.get("code") or 0), str(status.get("reason") or "")
    message = _without_nul(str(status.get("message") or reason or code))[:LONGEST_MESSAGE]
    kind = _kind(code, reason, message)
    return kind(message, status=code, reason=reason, causes=_causes(status.get("details")))


def parse_status(code: int, body: bytes) -> dict[str, Any]:
    try:
        parsed = orjson.loads(body)
    except orjson.JSONDecodeError:
        parsed = None
    if isinstance(parsed, dict) and parsed.get("kind") == "Status":
        return {**parsed, "code": parsed.get("code") or code}
    text = body[:200].decode(errors="replace").strip()
    return {"code": code, "message": _("The server answered %(code)d: %(text)s") % {"code": code, "text": text or "-"}}


def read_object(body: bytes) -> Manifest:
    """An answer's JSON object, without NUL characters.

    Raises Unavailable when it is none: something else answers at that address.
    """
    try:
        parsed = orjson.loads(body)
    except orjson.JSONDecodeError:
        parsed = None
    if not isinstance(parsed, dict):
        raise Unavailable(_("What answers there does not speak the Kubernetes API."))
    return cast(Manifest, _without_nul(parsed) if NUL in body else parsed)


def _without_nul(value: Any) -> Any:
    """Programs write the messages of their pods, and PostgreSQL refuses a text or document with a NUL in it."""
    match value:
        case str():
            return value.replace("\x00", "\ufffd")
        case dict():
            return {_without_nul(key): _without_nul(child) for key, child in value.items()}
        case list():
            return [_without_nul(child) for child in value]
    return value


def _kind(code: int, reason: str, message: str) -> type[GatewayError]:
    if code == 409:
        return AlreadyExists if reason == "AlreadyExists" else Conflict
    if code == 500 and BAD_APPLY in message:
        return Invalid
    known: dict[int, type[GatewayError]] = {
        400: Invalid,
        401: Forbidden,
        403: Forbidden,
        404: NotFound,
        410: VersionExpired,
        413: Invalid,
        415: Invalid,
        422: Invalid,
    }
    if code in known:
        return known[code]
    return Unavailable if code == 429 or code >= 500 else GatewayError


def _causes(details: Any) -> tuple[tuple[str, str], ...]:
    causes = details.get("causes") if isinstance(details, dict) else None
    return tuple(
        (str(cause.get("field") or ""), str(cause.get("message") or ""))
        for cause in causes or ()
        if isinstance(cause, dict)
    )
