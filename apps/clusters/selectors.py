"""Reads about capacity: which clusters may take work, and what they have."""

from dataclasses import dataclass

from django.db.models import Count, Q, QuerySet, Sum

from .choices import Health
from .models import Cluster, Node, ResourceGroup


@dataclass(frozen=True)
class GpuType:
    """`total` cards of one type on a cluster's nodes; `usable` of them on nodes that are ready and schedulable."""

    name: str  # empty: the nodes do not say
    total: int
    usable: int
    nodes: int


def usable_clusters() -> QuerySet[Cluster]:
    """Clusters that may be given work. An unreachable one is among them: its work waits, it is not lost."""
    return Cluster.objects.filter(is_enabled=True)


def unwell_clusters() -> QuerySet[Cluster]:
    """Enabled, and the last probe did not get through."""
    unwell = usable_clusters().filter(health__in=[Health.UNREACHABLE, Health.REFUSED])
    return unwell.only("slug", "name", "health", "probed_at")


def default_cluster() -> Cluster | None:
    """Where jobs go that name no cluster: the default one while it is enabled, or the only one there is."""
    usable = list(usable_clusters().order_by("-is_default", "slug")[:2])
    return usable[0] if usable and (usable[0].is_default or len(usable) == 1) else None


def resource_groups(cluster: Cluster) -> QuerySet[ResourceGroup]:
    """The groups of a cluster, its default first."""
    return cluster.resource_groups.order_by("-is_default", "slug")


def gpu_types(cluster: Cluster) -> list[GpuType]:
    """GPUs by type in the last snapshot, the most numerous first."""
    return gpu_types_of([cluster])[cluster.pk]


def gpu_types_of(clusters: list[Cluster]) -> dict[int, list[GpuType]]:
    """The same for several clusters in one query, by primary key."""
    usable = Sum("gpu_count", filter=Q(is_ready=True, is_schedulable=True), default=0)
    rows = (
        Node.objects.filter(cluster__in=clusters, gpu_count__gt=0)
        .values("cluster_id", "gpu_type")
        .annotate(total=Sum("gpu_count"), usable=usable, nodes=Count("pk"))
        .order_by("cluster_id", "-total", "gpu_type")
    )
    found: dict[int, list[GpuType]] = {cluster.pk: [] for cluster in clusters}
    for row in rows:
        found[row["cluster_id"]].append(GpuType(row["gpu_type"], row["total"], row["usable"], row["nodes"]))
    return found
