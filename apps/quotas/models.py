from django.db import models

from apps.clusters.models import Cluster
from apps.core.models import TimestampedModel
from apps.projects.owned import ProjectOwned


class TenantNamespace(ProjectOwned, TimestampedModel):
    """Where a project lives on a cluster: tenancy and capacity meet here.

    `fingerprint` is of the manifests last applied, so that reconciling an unchanged namespace asks
    nothing of the cluster.
    """

    cluster = models.ForeignKey(Cluster, on_delete=models.CASCADE, related_name="tenant_namespaces")
    name = models.CharField(max_length=63)
    has_workspace = models.BooleanField(default=False)
    fingerprint = models.CharField(max_length=64, blank=True)
    reconciled_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["project", "cluster"], name="one_namespace_per_project_and_cluster"),
            models.UniqueConstraint(fields=["cluster", "name"], name="one_project_per_namespace"),
        ]

    def __str__(self) -> str:
        return f"{self.cluster}/{self.name}"
