from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class WorkloadObserved:
    """The watcher or a sweep saw an object that carries Cube's labels.

    `workload_kind` and `workload_uid` are the labels `cube.io/kind` and `cube.io/uid`; `manifest` is the object
    as the API server sent it (for a deletion: its last state).
    """

    cluster_id: int
    kind: str
    namespace: str
    name: str
    workload_kind: str
    workload_uid: str
    deleted: bool
    manifest: dict[str, Any]


@dataclass(frozen=True)
class ClusterHealthChanged:
    cluster_id: int
    health: str
