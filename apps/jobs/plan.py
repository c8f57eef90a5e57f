"""What is known about one attempt once everything was looked up: the input of the manifests, plain values only."""

from dataclasses import dataclass, field, replace

from apps.clusters.quantities import Resources
from apps.jobtemplates.workload import Workload

NAME_LENGTH = 36  # leaves room for uid, attempt and worker index within the 63 characters of a DNS label


def object_name(*, name: str, uid: str, attempt: int) -> str:
    """The fixed name of an attempt's Kubernetes objects: readable, unique, the same however often it is computed.

    Services need a letter first (RFC 1035), so a name that starts with a digit gets one.
    """
    readable = name if name[0].isalpha() else f"j{name}"
    return f"{readable[:NAME_LENGTH].rstrip('-')}-{uid.replace('-', '')[:10]}-{attempt}"


def idle(workload: Workload, *, seconds: int) -> Workload:
    """The same container with nothing to do for so long: what a debug session runs. One worker is enough to look at.

    Ends by itself, and at once when it is asked to: `sleep` is not process 1 (see `shareProcessNamespace`).
    """
    return replace(workload, command=("sleep", str(seconds)), args=(), workers=1)


@dataclass(frozen=True)
class JobPlan:
    uid: str
    name: str
    attempt: int
    project: str
    namespace: str
    workload: Workload
    resources: Resources
    priority: int = 0
    node_selector: dict[str, str] = field(default_factory=dict)
    has_workspace: bool = True
    workspace_is_on_one_node: bool = False  # ReadWriteOnce: a volume that one node at a time can mount
    time_limit_seconds: int | None = None

    @property
    def object_name(self) -> str:
        return object_name(name=self.name, uid=self.uid, attempt=self.attempt)

    @property
    def is_distributed(self) -> bool:
        return self.workload.workers > 1


@dataclass(frozen=True)
class Launched:
    """The object of a job's first attempt exists in the cluster."""

    job_id: int
    cluster: str  # its slug
    object_uid: str
    note: str
