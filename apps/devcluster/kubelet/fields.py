"""The downward API: fields and resources of a pod as text.

Source: https://kubernetes.io/docs/concepts/workloads/pods/downward-api/
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from apps.devcluster.client import Object
from apps.devcluster.quantities import ceil_div

_SUBSCRIPT = re.compile(r"metadata\.(labels|annotations)\['([^']+)'\]")


@dataclass(frozen=True)
class PodFacts:
    """What the kubelet knows of a pod beyond its object."""

    pod: Object
    pod_ip: str
    host_ip: str
    node_name: str
    allocatable: dict[str, str]


def field(facts: PodFacts, path: str) -> str:
    """The value of a `fieldRef`."""
    meta, spec = facts.pod["metadata"], facts.pod["spec"]
    if match := _SUBSCRIPT.fullmatch(path):
        return (meta.get(match[1]) or {}).get(match[2], "")
    if path in ("metadata.labels", "metadata.annotations"):
        pairs = sorted((meta.get(path.split(".")[1]) or {}).items())
        return "\n".join(f"{key}={json.dumps(value, ensure_ascii=False)}" for key, value in pairs)
    simple = {
        "metadata.name": meta["name"],
        "metadata.namespace": meta.get("namespace", ""),
        "metadata.uid": meta["uid"],
        "spec.nodeName": facts.node_name,
        "spec.serviceAccountName": spec.get("serviceAccountName", ""),
        "status.hostIP": facts.host_ip,
        "status.hostIPs": facts.host_ip,
        "status.podIP": facts.pod_ip,
        "status.podIPs": facts.pod_ip,
    }
    return simple.get(path, "")


def resource(facts: PodFacts, container: Object, ref: dict[str, Any]) -> str:
    """The value of a `resourceFieldRef`; a limit that is not set shows what the node has."""
    kind, _, name = ref["resource"].partition(".")
    resources = container.get("resources") or {}
    quantity = (resources.get(kind) or {}).get(name)
    if quantity is None and kind == "requests":
        quantity = (resources.get("limits") or {}).get(name, "0")
    if quantity is None:
        quantity = facts.allocatable.get(name, "0")
    return str(ceil_div(quantity, ref.get("divisor") or "1"))


def resource_of_pod(facts: PodFacts, ref: dict[str, Any]) -> str:
    """The same in a volume, where the reference names its container."""
    for container in facts.pod["spec"]["containers"]:
        if container["name"] == ref.get("containerName"):
            return resource(facts, container, ref)
    return "0"
