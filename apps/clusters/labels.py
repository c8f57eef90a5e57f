"""The labels Cube puts on everything it makes in a cluster, and reads back."""

from collections.abc import Mapping

PREFIX = "cube.io/"
KIND = PREFIX + "kind"
UID = PREFIX + "uid"
PROJECT = PREFIX + "project"
ATTEMPT = PREFIX + "attempt"
MANAGED_BY = "app.kubernetes.io/managed-by"
CUBE = "cube"
MANAGED = {MANAGED_BY: CUBE}
# Node labels that name the type of GPU, in the order they are believed.
GPU_TYPE_LABELS = ("gpu-type", "nvidia.com/gpu.product")
GPU_RESOURCE = "nvidia.com/gpu"


def gpu_type(node_labels: Mapping[str, str]) -> str:
    """The type of a node's GPUs as its labels tell it; empty when they do not."""
    return next((node_labels[key] for key in GPU_TYPE_LABELS if node_labels.get(key)), "")
