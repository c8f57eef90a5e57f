"""Answers in the forms of the Kubernetes API."""

from typing import Any

import orjson
from aiohttp import web

REASONS = {400: "BadRequest", 404: "NotFound", 409: "AlreadyExists", 410: "Expired", 429: "TooManyRequests"}


class Refusal(Exception):
    """What the server will not do, as a status code and a sentence."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code, self.message = code, message


def status(refusal: Refusal) -> dict[str, Any]:
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": refusal.message,
        "reason": REASONS.get(refusal.code, "InternalError"),
        "code": refusal.code,
    }


def answer(value: Any, code: int = 200) -> web.Response:
    headers = {"Retry-After": "1"} if code == 429 else None
    return web.Response(body=orjson.dumps(value), status=code, content_type="application/json", headers=headers)


def selects(selector: str, labels: dict[str, str]) -> bool:
    """Equality-based selectors: `a=b,c!=d,e,!f`."""
    for part in filter(None, selector.split(",")):
        if "!=" in part:
            key, _, value = part.partition("!=")
            if labels.get(key) == value:
                return False
        elif "=" in part:
            key, _, value = part.replace("==", "=").partition("=")
            if labels.get(key) != value:
                return False
        elif (part.lstrip("!") in labels) == part.startswith("!"):
            return False
    return True
