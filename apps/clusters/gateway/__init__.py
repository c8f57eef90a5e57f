"""Everything the portal asks of a Kubernetes API server, and the only place that asks."""

from .base import (
    AlreadyExists,
    Conflict,
    Forbidden,
    Gateway,
    GatewayError,
    Invalid,
    Manifest,
    NotFound,
    ObjectList,
    ObjectRef,
    ServerInfo,
    Streams,
    Unavailable,
    VersionExpired,
    WatchEvent,
)
from .connect import connect, open_streams

__all__ = [
    "AlreadyExists",
    "Conflict",
    "Forbidden",
    "Gateway",
    "GatewayError",
    "Invalid",
    "Manifest",
    "NotFound",
    "ObjectList",
    "ObjectRef",
    "ServerInfo",
    "Streams",
    "Unavailable",
    "VersionExpired",
    "WatchEvent",
    "connect",
    "open_streams",
]
