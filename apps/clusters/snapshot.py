"""Pure functions from what an API server answers to what Cube remembers of it."""

from dataclasses import dataclass, field
from typing import Any

from . import labels
from .gateway import Manifest
from .quantities import parse_quantity

DEFAULT_CLASS = "storageclass.kubernetes.io/is-default-class"
BETA_DEFAULT_CLASS = "storageclass.beta.kubernetes.io/is-default-class"


@dataclass(frozen=True)
class NodeFacts:
    """A node as its row holds it."""

    name: str
    is_ready: bool
    is_schedulable: bool
    labels: dict[str, str]
    allocatable: dict[str, str]
    gpu_type: str
    gpu_count: int

    def values(self) -> dict[str, Any]:
        return {key: value for key, value in vars(self).items() if key != "name"}


@dataclass(frozen=True)
class Snapshot:
    """One look at a cluster."""

    version: str
    capabilities: list[str] = field(default_factory=list)
    has_default_storage: bool = False
    nodes: list[NodeFacts] = field(default_factory=list)


def node_facts(manifest: Manifest) -> NodeFacts:
    meta, status = manifest["metadata"], manifest.get("status") or {}
    held: dict[str, str] = meta.get("labels") or {}
    allocatable: dict[str, str] = status.get("allocatable") or {}
    return NodeFacts(
        name=meta["name"],
        is_ready=any(c.get("type") == "Ready" and c.get("status") == "True" for c in status.get("conditions") or ()),
        is_schedulable=not (manifest.get("spec") or {}).get("unschedulable", False),
        labels=held,
        allocatable=allocatable,
        gpu_type=labels.gpu_type(held),
        gpu_count=_whole(allocatable.get(labels.GPU_RESOURCE, "0")),
    )


def is_default_storage(storage_class: Manifest) -> bool:
    notes = storage_class["metadata"].get("annotations") or {}
    return "true" in (notes.get(DEFAULT_CLASS), notes.get(BETA_DEFAULT_CLASS))


def _whole(quantity: str) -> int:
    try:
        return int(parse_quantity(str(quantity)))
    except ValueError:  # A device plugin may report anything; a node with odd GPUs still has CPUs.
        return 0
