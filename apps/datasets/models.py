from datetime import timedelta

from django.db import models
from django.utils import timezone

from apps.clusters.models import Cluster
from apps.core.models import TimestampedModel
from apps.projects.owned import ProjectOwned

from .choices import ListingStatus

PATIENCE = timedelta(minutes=3)  # a listing that takes longer is lost


class Workspace(ProjectOwned, TimestampedModel):
    """The shared folder of a project on a cluster (`/workspace` in every job), and what was last seen in it.

    The files live in the cluster; this row is a snapshot taken by a short pod, so that pages ask no cluster.
    `files` = [{"path", "size": bytes, "modified": Unix seconds}], at most `listing.MOST_FILES`.
    """

    cluster = models.ForeignKey(Cluster, on_delete=models.CASCADE, related_name="+")
    status = models.CharField(max_length=8, choices=ListingStatus.choices, default=ListingStatus.NEVER)
    message = models.TextField(blank=True)
    files = models.JSONField(default=list)
    is_truncated = models.BooleanField(default=False)
    requested_at = models.DateTimeField(null=True)
    listed_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["project", "cluster"], name="one_workspace_per_cluster")]

    def __str__(self) -> str:
        return f"{self.project}@{self.cluster}"

    @property
    def is_listing(self) -> bool:
        return (
            self.status == ListingStatus.LISTING
            and self.requested_at is not None
            and self.requested_at > timezone.now() - PATIENCE
        )
