"""Reads metrics.k8s.io. Pure: from what a metrics API answers to what Cube asks for."""

from collections.abc import Iterable, Iterator
from datetime import datetime
from decimal import Decimal

from apps.clusters.quantities import parse_quantity

from .base import Manifest, PodUsage

METRICS_API = "metrics.k8s.io/v1beta1"
MILLI = 1000
MOST_MILLICORES, MOST_BYTES = 2**31, 2**63  # no machine has that many; columns hold less


def read_usage(items: Iterable[Manifest]) -> Iterator[PodUsage]:
    """Each readable PodMetrics. Several programs serve this API: what one of them spells in a way of its own is left
    out rather than guessed, and costs its neighbours nothing."""
    for item in items:
        try:
            yield _read(item)
        except (KeyError, TypeError, ValueError):
            continue


def _read(item: Manifest) -> PodUsage:
    meta = item["metadata"]
    at = datetime.fromisoformat(item["timestamp"])
    if at.tzinfo is None:
        raise ValueError("a time without its zone")
    millicores, held = round(_total(item, "cpu") * MILLI), int(_total(item, "memory"))
    if millicores >= MOST_MILLICORES or held >= MOST_BYTES:
        raise ValueError("no machine is that large")
    return PodUsage(
        namespace=meta["namespace"],
        name=meta["name"],
        labels=meta.get("labels") or {},
        at=at,
        cpu_millicores=millicores,
        memory_bytes=held,
    )


def _total(item: Manifest, resource: str) -> Decimal:
    return sum((parse_quantity(container["usage"][resource]) for container in item["containers"]), Decimal(0))
