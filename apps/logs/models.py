from django.db import models

from apps.jobs.models import Job

from . import store


class LogStream(models.Model):
    """One container's log: cluster, pod uid, container and restart identify it; its lines are numbered from 0.

    Lines live in a file under `CUBE_LOG_DIR/<path>`, which is the truth; this row is its index, at most about a second
    behind. `line_count` and `byte_count` name one place in the file, written together. Times are the kubelet's own
    nanosecond stamps in UTC: of the first and last stored line, and the greatest so far (clocks can be set back).
    """

    job = models.ForeignKey(Job, on_delete=models.CASCADE, related_name="log_streams")
    attempt_number = models.PositiveSmallIntegerField(default=1)
    pod_uid = models.CharField(max_length=36)
    pod_name = models.CharField(max_length=253)
    rank = models.PositiveIntegerField(null=True)
    container = models.CharField(max_length=63)
    restart = models.PositiveIntegerField(default=0)
    path = models.CharField(max_length=400)
    line_count = models.PositiveBigIntegerField(default=0)
    byte_count = models.PositiveBigIntegerField(default=0)
    first_time = models.CharField(max_length=40, blank=True)
    last_time = models.CharField(max_length=40, blank=True)
    latest_time = models.CharField(max_length=40, blank=True)
    is_complete = models.BooleanField(default=False)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ["rank", "id"]
        constraints = [
            models.UniqueConstraint(fields=["pod_uid", "container", "restart"], name="one_log_stream_per_container_run")
        ]

    def __str__(self) -> str:
        return f"{self.pod_name}/{self.container}#{self.restart}"

    @property
    def source(self) -> store.Source:
        return store.Source(self.pk, self.path, self.line_count, self.byte_count)
