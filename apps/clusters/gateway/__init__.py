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
    PodUsage,
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
from .usage import METRICS_API

__all__ = [
    "METRICS_API",
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
    "PodUsage",
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
