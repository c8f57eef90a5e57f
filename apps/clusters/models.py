from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from apps.core.crypto import EncryptedTextField
from apps.core.models import TimestampedModel

from .choices import Health


class Cluster(TimestampedModel):
    """A Kubernetes API server Cube may use. The kubeconfig is encrypted at rest and never shown again."""

    slug = models.SlugField(max_length=40, unique=True)
    name = models.CharField(max_length=120)
    kubeconfig = EncryptedTextField(editable=False)
    is_enabled = models.BooleanField(default=True, help_text=_("New work goes only to enabled clusters."))
    is_default = models.BooleanField(default=False, help_text=_("Where jobs go that name no cluster."))

    # Written by the probe.
    health = models.CharField(max_length=16, choices=Health.choices, default=Health.UNKNOWN, editable=False)
    health_message = models.TextField(blank=True, editable=False)
    version = models.CharField(max_length=60, blank=True, editable=False)
    capabilities = models.JSONField(default=list, editable=False, help_text=_("API groups and versions served."))
    has_default_storage = models.BooleanField(default=False, editable=False)
    probed_at = models.DateTimeField(null=True, editable=False)

    class Meta:
        ordering = ["slug"]
        constraints = [
            models.UniqueConstraint(
                fields=["is_default"], condition=models.Q(is_default=True), name="one_default_cluster"
            )
        ]

    def __str__(self) -> str:
        return self.slug

    @property
    def runs_local_processes(self) -> bool:
        """True for the built-in devcluster: images are names only and processes use the host's interpreter."""
        return self.version.endswith("cube.devcluster")

    def serves(self, group_version: str) -> bool:
        return group_version in self.capabilities


class ResourceGroup(TimestampedModel):
    """A part of a cluster's nodes, chosen by labels; what quotas will speak of."""

    cluster = models.ForeignKey(Cluster, on_delete=models.CASCADE, related_name="resource_groups")
    slug = models.SlugField(max_length=40)
    name = models.CharField(max_length=120)
    node_selector = models.JSONField(default=dict, blank=True, help_text=_('Node labels, as in {"pool": "train"}.'))
    is_default = models.BooleanField(default=False)

    class Meta:
        ordering = ["cluster__slug", "slug"]
        constraints = [models.UniqueConstraint(fields=["cluster", "slug"], name="one_resource_group_per_slug")]

    def __str__(self) -> str:
        return f"{self.cluster.slug}/{self.slug}"


class Node(TimestampedModel):
    """The last snapshot of a node. Quantities are Kubernetes strings as the API server gave them."""

    cluster = models.ForeignKey(Cluster, on_delete=models.CASCADE, related_name="nodes")
    name = models.CharField(max_length=253)
    is_ready = models.BooleanField(default=False)
    is_schedulable = models.BooleanField(default=True)
    labels = models.JSONField(default=dict)
    allocatable = models.JSONField(default=dict)
    gpu_type = models.CharField(max_length=63, blank=True)
    gpu_count = models.PositiveIntegerField(default=0)

    class Meta:
        ordering = ["name"]
        constraints = [models.UniqueConstraint(fields=["cluster", "name"], name="one_node_per_name")]

    def __str__(self) -> str:
        return self.name


class LeaseQuerySet(models.QuerySet["Lease"]):
    def held(self) -> "LeaseQuerySet":
        return self.filter(expires_at__gt=timezone.now())


class Lease(models.Model):
    """Who currently runs a per-cluster loop (watcher, log collector). A dead holder's lease simply runs out."""

    cluster = models.ForeignKey(Cluster, on_delete=models.CASCADE, related_name="leases")
    purpose = models.CharField(max_length=32)
    holder = models.CharField(max_length=100)
    expires_at = models.DateTimeField()

    objects = LeaseQuerySet.as_manager()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["cluster", "purpose"], name="one_lease_per_purpose")]

    def __str__(self) -> str:
        return f"{self.purpose} of {self.cluster_id} by {self.holder}"
