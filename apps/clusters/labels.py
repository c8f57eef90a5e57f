"""The labels Cube puts on everything it makes in a cluster, and reads back."""

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
