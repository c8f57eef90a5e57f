"""How both faces speak to an API server: time-outs, page size, keep-alive and the query parameters they share."""

import socket
from collections.abc import Mapping
from urllib.parse import quote

from django.utils.translation import gettext as _

from .base import Invalid

CONNECT_SECONDS = 3.0
READ_SECONDS = 20.0
WATCH_SLACK_SECONDS = 15.0  # on top of the time after which the server was asked to end a watch by itself
PAGE = 500
# A peer that vanished without a word (a node lost, a firewall's idle cut) is noticed after about a minute.
KEEPALIVE = [
    (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    *(
        (socket.IPPROTO_TCP, getattr(socket, name), value)
        for name, value in (("TCP_KEEPIDLE", 30), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3))
        if hasattr(socket, name)
    ),
]


def segment(name: str) -> str:
    """A name as one segment of a path. Raises Invalid for what would lead elsewhere; Kubernetes allows none of it."""
    if name in (".", "..") or "/" in name or "%" in name:
        message = _("%s cannot be the name of an object.") % repr(name[:100])
        raise Invalid(message, status=422, reason="Invalid", causes=(("metadata.name", message),))
    return quote(name, safe="")


def selection(labels: Mapping[str, str] | None) -> dict[str, str]:
    return {"labelSelector": ",".join(f"{k}={v}" for k, v in labels.items())} if labels else {}


def watching(version: str, seconds: int) -> dict[str, str]:
    return {
        "watch": "true",
        "allowWatchBookmarks": "true",
        "resourceVersion": version,
        "timeoutSeconds": str(seconds),
    }
