"""Everything the portal asks of a Kubernetes API server, and the only place that asks."""

from .base import (
    AlreadyExists,
    Conflict,
    Execution,
    Forbidden,
    Gateway,
    GatewayError,
    Invalid,
    Manifest,
    NotFound,
    ObjectList,
    ObjectRef,
    Propagation,
    ServerInfo,
    Streams,
    Unavailable,
    VersionExpired,
    WatchEvent,
)
from .connect import connect, open_streams
from .kubeconfig import inline_files
from .kubeconfig import parse as check_kubeconfig

__all__ = [
    "AlreadyExists",
    "Conflict",
    "Execution",
    "Forbidden",
    "Gateway",
    "GatewayError",
    "Invalid",
    "Manifest",
    "NotFound",
    "ObjectList",
    "ObjectRef",
    "Propagation",
    "ServerInfo",
    "Streams",
    "Unavailable",
    "VersionExpired",
    "WatchEvent",
    "check_kubeconfig",
    "connect",
    "inline_files",
    "open_streams",
]
