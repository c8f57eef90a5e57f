from typing import Any

from django.db.models import QuerySet
from rest_framework.mixins import ListModelMixin, RetrieveModelMixin
from rest_framework.permissions import IsAuthenticated
from rest_framework.viewsets import GenericViewSet

from apps.clusters import selectors
from apps.clusters.models import Cluster
from apps.core.api.pagination import NewestFirst

from .serializers import ClusterSerializer


class BySlug(NewestFirst):
    ordering = "slug"


class ClusterViewSet(ListModelMixin, RetrieveModelMixin, GenericViewSet):
    """The clusters that take work, for every signed-in person: which one a project may use is a matter of its quota."""

    queryset = Cluster.objects.none()
    serializer_class = ClusterSerializer
    permission_classes = [IsAuthenticated]
    pagination_class = BySlug
    lookup_field = "slug"

    def get_queryset(self) -> QuerySet[Cluster]:
        return selectors.usable_clusters().prefetch_related("resource_groups").defer("kubeconfig")

    def paginate_queryset(self, queryset: Any) -> list[Cluster] | None:
        page = super().paginate_queryset(queryset)
        return _with_gpus(list(page)) if page is not None else None

    def get_object(self) -> Cluster:
        return _with_gpus([super().get_object()])[0]


def _with_gpus(clusters: list[Cluster]) -> list[Cluster]:
    """Give each its `gpu_types`: one query for all of them."""
    found = selectors.gpu_types_of(clusters)
    for cluster in clusters:
        cluster.gpu_types = found[cluster.pk]  # type: ignore[attr-defined]
    return clusters
