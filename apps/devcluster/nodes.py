"""Declared nodes: `--node name=a,cpu=8,memory=32Gi,nvidia.com/gpu=4,label=gpu-type:A100,taint=gpu=yes:NoSchedule`."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from apps.devcluster.quantities import parse

DEFAULT_NAME = "cube-dev-node"
GPU = "nvidia.com/gpu"
EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")
# Annotations of a Node by which the command line speaks to the kubelet of a running cluster.
ADDED = "devcluster.cube.io/node"  # a node declared later, in the words of `--node`
LOST = "devcluster.cube.io/lost"  # the node is cut off: RUNNING, its processes go on, or CRASHED, they died
RUNNING, CRASHED = "running", "crashed"


@dataclass(frozen=True)
class Node:
    """A node as declared; resources as Kubernetes quantities."""

    name: str
    resources: dict[str, str]
    labels: dict[str, str] = field(default_factory=dict)
    taints: list[dict[str, str]] = field(default_factory=list)


def parse_node(text: str, host: dict[str, str]) -> Node:
    """One `--node` option; cpu and memory default to the host's. `ValueError` says what is wrong."""
    name, resources, labels, taints = "", dict(host), {}, []
    for part in text.split(","):
        key, separator, value = part.partition("=")
        if not separator or not value:
            raise ValueError(f"{part!r} in --node is not key=value")
        if key == "name":
            name = value
        elif key == "label":
            label, _, content = value.partition(":")
            labels[label] = content
        elif key == "taint":
            taints.append(_taint(value))
        else:
            parse(value)
            resources[key] = value
    if not name:
        raise ValueError(f"--node {text!r} names no node (name=…)")
    return Node(name, resources, labels, taints)


def _taint(text: str) -> dict[str, str]:
    """`key=value:Effect` or `key:Effect`, as `kubectl taint` has it."""
    what, _, effect = text.rpartition(":")
    key, _, value = what.partition("=")
    if not key or effect not in EFFECTS:
        raise ValueError(f"taint={text} in --node is not key=value:Effect with one of {', '.join(EFFECTS)}")
    return {"key": key, "effect": effect} | ({"value": value} if value else {})


def pretend_gpus(nodes: list[Node], text: str) -> list[Node]:
    """`N[:TYPE]`: every node that declares no GPUs gets N, labelled with their type."""
    count, _, kind = text.partition(":")
    int(count)
    labels = {"nvidia.com/gpu.product": kind, "gpu-type": kind} if kind else {}
    return [
        node
        if GPU in node.resources
        else replace(node, resources=node.resources | {GPU: count}, labels=node.labels | labels)
        for node in nodes
    ]
