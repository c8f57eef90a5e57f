"""Declared nodes: `--node name=a,cpu=8,memory=32Gi,nvidia.com/gpu=4,label=gpu-type:A100`."""

from __future__ import annotations

from dataclasses import dataclass, field

from apps.devcluster.quantities import parse

DEFAULT_NAME = "cube-dev-node"
GPU = "nvidia.com/gpu"


@dataclass(frozen=True)
class Node:
    """A node as declared; resources as Kubernetes quantities."""

    name: str
    resources: dict[str, str]
    labels: dict[str, str] = field(default_factory=dict)


def parse_node(text: str, host: dict[str, str]) -> Node:
    """One `--node` option; cpu and memory default to the host's. `ValueError` says what is wrong."""
    name, resources, labels = "", dict(host), {}
    for part in text.split(","):
        key, separator, value = part.partition("=")
        if not separator or not value:
            raise ValueError(f"{part!r} in --node is not key=value")
        if key == "name":
            name = value
        elif key == "label":
            label, _, content = value.partition(":")
            labels[label] = content
        else:
            parse(value)
            resources[key] = value
    if not name:
        raise ValueError(f"--node {text!r} names no node (name=…)")
    return Node(name, resources, labels)


def pretend_gpus(nodes: list[Node], text: str) -> list[Node]:
    """`N[:TYPE]`: every node that declares no GPUs gets N, labelled with their type."""
    count, _, kind = text.partition(":")
    int(count)
    labels = {"nvidia.com/gpu.product": kind, "gpu-type": kind} if kind else {}
    return [
        node if GPU in node.resources else Node(node.name, node.resources | {GPU: count}, node.labels | labels)
        for node in nodes
    ]
