from django.db import models
from django.utils.translation import gettext_lazy as _

from apps.clusters.models import Cluster
from apps.core.models import TimestampedModel
from apps.jobs.models import Job

from . import expressions


class LogStream(models.Model):
    """One container's log: cluster, pod uid, container and restart identify it; its lines are numbered from 0.

    `line_count` and `byte_count` (uncompressed) say what is stored: they change in the transaction that adds the
    segment which holds it. `epoch` counts the collectors that opened the stream; a commit by an older one is refused.
    Times are the kubelet's own nanosecond stamps in UTC: of the first and last stored line, and the greatest so far
    (clocks can be set back). Lines before `kept_from` have been removed by retention."""

    job = models.ForeignKey(Job, on_delete=models.CASCADE, related_name="log_streams")
    attempt_number = models.PositiveSmallIntegerField(default=1)
    pod_uid = models.CharField(max_length=36)
    pod_name = models.CharField(max_length=253)
    rank = models.PositiveIntegerField(null=True)
    container = models.CharField(max_length=63)
    restart = models.PositiveIntegerField(default=0)
    epoch = models.PositiveIntegerField(default=0)
    line_count = models.PositiveBigIntegerField(default=0)
    byte_count = models.PositiveBigIntegerField(default=0)
    kept_from = models.PositiveBigIntegerField(default=0)
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


class LogSegment(models.Model):
    """Where a stream's records from ordinal `first` on lie: `size` bytes from `offset` on of the object `name`."""

    stream = models.ForeignKey(LogStream, on_delete=models.CASCADE, related_name="segments")
    first = models.PositiveBigIntegerField()
    records = models.PositiveIntegerField()
    earliest = models.CharField(max_length=30)
    latest = models.CharField(max_length=30)
    raw_bytes = models.PositiveBigIntegerField()
    name = models.CharField(max_length=120, db_index=True)
    offset = models.PositiveBigIntegerField(default=0)
    size = models.PositiveBigIntegerField()
    index_size = models.PositiveIntegerField()

    class Meta:
        ordering = ["stream", "first"]
        constraints = [models.UniqueConstraint(fields=["stream", "first"], name="one_log_segment_per_place")]

    def __str__(self) -> str:
        return f"{self.name}: {self.records} from {self.first}"


class LogGap(models.Model):
    """Lines are, or may be, missing before this ordinal. The same is told by a row of the log itself."""

    stream = models.ForeignKey(LogStream, on_delete=models.CASCADE, related_name="gaps")
    ordinal = models.PositiveBigIntegerField()
    cause = models.CharField(max_length=20)
    text = models.TextField()
    since = models.CharField(max_length=40, blank=True)
    until = models.CharField(max_length=40, blank=True)
    bytes = models.PositiveBigIntegerField(null=True)
    created_at = models.DateTimeField(auto_now_add=True, db_index=True)

    class Meta:
        ordering = ["-created_at", "-id"]
        verbose_name = _("log gap")
        constraints = [models.UniqueConstraint(fields=["stream", "ordinal"], name="one_log_gap_per_place")]

    def __str__(self) -> str:
        return self.text


class LogGarbage(models.Model):
    """An object that no row names any more, to be deleted once nobody can still be reading it."""

    name = models.CharField(max_length=120, unique=True)
    delete_after = models.DateTimeField(db_index=True)

    def __str__(self) -> str:
        return self.name


class MaskingPattern(TimestampedModel):
    """What an admin wants hidden in logs from now on: an RE2 expression, replaced by `***` before a line is stored."""

    name = models.CharField(max_length=80, unique=True)
    expression = models.CharField(
        max_length=expressions.LONGEST,
        validators=[expressions.check_expression],
        help_text=_("RE2 syntax. With one group only what it holds is hidden, else everything that matches."),
    )
    is_enabled = models.BooleanField(
        default=True, help_text=_("Takes effect for logs that begin later. Lines stored before stay as they are.")
    )

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name


class CollectorReport(models.Model):
    """What the log collector of a cluster last said of itself, about every 5 seconds. Counts are since it started."""

    cluster = models.OneToOneField(Cluster, on_delete=models.CASCADE, related_name="collector_report")
    holder = models.CharField(max_length=100)
    at = models.DateTimeField()
    following = models.PositiveIntegerField(default=0, help_text=_("Open follows, one a container."))
    waiting = models.PositiveIntegerField(default=0, help_text=_("Containers whose turn has not come."))
    polling = models.PositiveIntegerField(default=0, help_text=_("Containers asked now and then instead of followed."))
    requests = models.PositiveBigIntegerField(default=0)
    reconnects = models.PositiveBigIntegerField(default=0)
    gaps = models.PositiveBigIntegerField(default=0)
    lines = models.PositiveBigIntegerField(default=0)
    bytes = models.PositiveBigIntegerField(default=0)
    pending_bytes = models.PositiveBigIntegerField(default=0, help_text=_("Collected and not yet stored."))
    commits = models.PositiveBigIntegerField(default=0)
    lag_seconds = models.FloatField(default=0, help_text=_("How far storing is behind writing."))
    budget_used = models.FloatField(default=0, help_text=_("Of the requests the cluster may be asked, 0 to 1."))
    bytes_per_second = models.FloatField(default=0)
    lines_per_second = models.FloatField(default=0)
    problem = models.TextField(blank=True)

    class Meta:
        ordering = ["cluster__slug"]

    def __str__(self) -> str:
        return str(self.cluster)


class ShipCursor(models.Model):
    """How far a stream has been shipped to the site's own log system: `ordinal` is the next record to send."""

    stream = models.OneToOneField(LogStream, on_delete=models.CASCADE, related_name="ship_cursor")
    ordinal = models.PositiveBigIntegerField(default=0)

    def __str__(self) -> str:
        return f"{self.stream_id} at {self.ordinal}"


class ShipReport(models.Model):
    """What the shipper of a cluster's logs last said of itself. Counts are since it started."""

    cluster = models.OneToOneField(Cluster, on_delete=models.CASCADE, related_name="ship_report")
    holder = models.CharField(max_length=100)
    at = models.DateTimeField()
    pending_lines = models.PositiveBigIntegerField(default=0, help_text=_("Stored and not yet shipped."))
    lag_seconds = models.FloatField(default=0, help_text=_("Age of the oldest record that waits."))
    sent_records = models.PositiveBigIntegerField(default=0)
    sent_bytes = models.PositiveBigIntegerField(default=0)
    failures = models.PositiveBigIntegerField(default=0, help_text=_("Requests that were made again."))
    refused = models.PositiveBigIntegerField(
        default=0, help_text=_("Requests the sink will never take, all or in part.")
    )
    problem = models.TextField(blank=True)

    class Meta:
        ordering = ["cluster__slug"]

    def __str__(self) -> str:
        return str(self.cluster)
