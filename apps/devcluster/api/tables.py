"""The columns kubectl prints, per kind: data, with a function per cell."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from .registry import Resource


def age(stamp: str | None) -> str:
    """k8s.io/apimachinery/pkg/util/duration.HumanDuration."""
    if not stamp:
        return "<unknown>"
    seconds = int((datetime.now(UTC) - datetime.fromisoformat(stamp)).total_seconds())
    if seconds < 120:
        return f"{max(seconds, 0)}s"
    minutes = seconds // 60
    if minutes < 10:
        return f"{minutes}m{seconds % 60}s" if seconds % 60 else f"{minutes}m"
    if minutes < 180:
        return f"{minutes}m"
    hours = minutes // 60
    if hours < 8:
        return f"{hours}h{minutes % 60}m" if minutes % 60 else f"{hours}h"
    if hours < 48:
        return f"{hours}h"
    days = hours // 24
    if hours < 192:
        return f"{days}d{hours % 24}h" if hours % 24 else f"{days}d"
    return f"{days}d"


def columns(resource: Resource) -> list[dict[str, Any]]:
    return [
        {"name": "Name", "type": "string", "format": "name", "description": "", "priority": 0},
        {"name": "Age", "type": "date", "format": "", "description": "", "priority": 0},
    ]


def cells(resource: Resource, obj: dict[str, Any]) -> list[Any]:
    return [obj["metadata"]["name"], age(obj["metadata"].get("creationTimestamp"))]
