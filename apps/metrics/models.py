"""What pods used. GPUs will have tables of their own: they are counted per device, not per pod."""

from django.db import models
from django.utils.translation import gettext_lazy as _

from apps.clusters.models import Cluster
from apps.jobs.models import Attempt, Pod

from .choices import SourceState


class PodSample(models.Model):
    """One measurement of one pod, all of its containers together."""

    pk = models.CompositePrimaryKey("pod", "at")
    pod = models.ForeignKey(Pod, on_delete=models.CASCADE, related_name="samples", db_index=False)
    at = models.DateTimeField(help_text=_("The end of the window that was measured, by the cluster's clock."))
    cpu_millicores = models.PositiveIntegerField(help_text=_("Mean over the window."))
    memory_bytes = models.PositiveBigIntegerField(help_text=_("The working set."))

    def __str__(self) -> str:
        return f"{self.pod_id} at {self.at:%Y-%m-%d %H:%M:%S}"


class AttemptUsage(models.Model):
    """What an attempt used, kept for as long as its job: open from its first sample until it has ended.

    Figures are of one pod, as requests and limits are: `max` is that of the pod and moment that used most, `mean` and
    `p95` (nearest rank) are over all samples of all pods.
    """

    attempt = models.OneToOneField(Attempt, on_delete=models.CASCADE, primary_key=True, related_name="usage")
    first_at = models.DateTimeField()
    last_at = models.DateTimeField()
    sample_count = models.PositiveIntegerField(default=0)
    pod_count = models.PositiveIntegerField(default=0)
    cpu_millicores_mean = models.PositiveIntegerField(default=0)
    cpu_millicores_p95 = models.PositiveIntegerField(default=0)
    cpu_millicores_max = models.PositiveIntegerField(default=0)
    memory_bytes_mean = models.PositiveBigIntegerField(default=0)
    memory_bytes_p95 = models.PositiveBigIntegerField(default=0)
    memory_bytes_max = models.PositiveBigIntegerField(default=0)
    closed_at = models.DateTimeField(null=True, help_text=_("When the figures were written, the attempt being over."))
    samples_removed_at = models.DateTimeField(null=True)

    class Meta:
        indexes = [
            models.Index(
                fields=["closed_at"], name="usage_with_samples", condition=models.Q(samples_removed_at__isnull=True)
            )
        ]

    def __str__(self) -> str:
        return str(self.attempt_id)


class Source(models.Model):
    """How the last look at a cluster went."""

    cluster = models.OneToOneField(Cluster, on_delete=models.CASCADE, primary_key=True, related_name="usage_source")
    state = models.CharField(max_length=16, choices=SourceState.choices)
    message = models.TextField(blank=True, help_text=_("In the cluster's words."))
    asked_at = models.DateTimeField()

    class Meta:
        ordering = ["cluster__slug"]

    def __str__(self) -> str:
        return str(self.cluster_id)
