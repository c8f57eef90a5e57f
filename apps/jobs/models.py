from datetime import datetime, timedelta

from django.conf import settings
from django.core.validators import MaxValueValidator, MinValueValidator, RegexValidator
from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from apps.clusters.models import Cluster, ResourceGroup
from apps.core.errors import InvalidTransition
from apps.core.models import PublicIdModel, TimestampedModel
from apps.jobtemplates.models import TemplateVersion
from apps.projects.owned import ProjectOwned, ProjectOwnedQuerySet

from .advice import next_step
from .choices import FINISHED, HELD_UP, NEXT, UNFINISHED, JobStatus, Reason

name_validator = RegexValidator(
    r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\Z",
    _("Use lower-case letters, digits and '-', at most 63 characters."),
)
LONGEST_SECONDS = 2**31 - 1  # of `activeDeadlineSeconds`; also what the column holds


class JobQuerySet(ProjectOwnedQuerySet):
    def unfinished(self) -> "JobQuerySet":
        return self.filter(status__in=UNFINISHED)

    def for_lists(self) -> "JobQuerySet":
        """With what a row shows, and without what is large or costly to load: parameters, schemas, kubeconfigs."""
        return self.select_related("project", "cluster", "template_version__template", "submitted_by").defer(
            "params",
            "cluster__kubeconfig",
            "cluster__capabilities",
            "template_version__schema",
            "template_version__body",
            "template_version__template__description",
            "submitted_by__password",
        )


class Job(ProjectOwned, PublicIdModel, TimestampedModel):
    """One submission: a template version with parameters, run on a cluster until it ends."""

    name = models.CharField(max_length=63, validators=[name_validator])
    cluster = models.ForeignKey(Cluster, on_delete=models.PROTECT, related_name="+")
    resource_group = models.ForeignKey(ResourceGroup, null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    template_version = models.ForeignKey(TemplateVersion, on_delete=models.PROTECT, related_name="+")
    params = models.JSONField(default=dict, help_text=_("As validated against the version's schema."))
    resources = models.JSONField(
        default=dict, help_text=_('As written: {"cpu": "2~4", "memory": "10Gi", "gpu": "1(A100)"}.')
    )
    priority = models.IntegerField(default=0, validators=[MinValueValidator(-100), MaxValueValidator(100)])
    max_retries = models.PositiveSmallIntegerField(default=0, validators=[MaxValueValidator(10)])
    time_limit_seconds = models.PositiveIntegerField(
        null=True, blank=True, validators=[MinValueValidator(1), MaxValueValidator(LONGEST_SECONDS)]
    )
    needs_outputs = models.BooleanField(
        default=False,
        help_text=_("What it writes to $CUBE_OUTPUTS is waited for: it is read before the job has ended."),
    )

    status = models.CharField(max_length=16, choices=JobStatus.choices, default=JobStatus.QUEUED)
    version = models.PositiveIntegerField(default=0)
    reason = models.CharField(max_length=32, choices=Reason.choices, blank=True)
    message = models.TextField(blank=True)
    exit_code = models.IntegerField(null=True)
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)
    taken_until = models.DateTimeField(
        null=True, help_text=_("While it is queued: until then a launcher has it, or it is not to be asked for again.")
    )
    submitted_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+")
    rerun_of = models.ForeignKey("self", null=True, on_delete=models.SET_NULL, related_name="reruns")
    is_debug = models.BooleanField(
        default=False, help_text=_("Its container idles until its time is up, for people to look around in.")
    )
    debug_of = models.ForeignKey("self", null=True, on_delete=models.SET_NULL, related_name="debug_sessions")

    objects = JobQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.CheckConstraint(name="job_status_is_known", condition=models.Q(status__in=JobStatus.values))
        ]
        indexes = [
            models.Index(fields=["project", "-id"], name="job_list"),
            models.Index(fields=["project", "status", "-id"], name="job_list_by_status"),
            models.Index(fields=["id"], name="job_unfinished", condition=models.Q(status__in=sorted(UNFINISHED))),
            models.Index(fields=["id"], name="job_queued", condition=models.Q(status="queued")),
        ]

    def __str__(self) -> str:
        return f"{self.project}/{self.name}#{self.pk}"

    @property
    def is_finished(self) -> bool:
        return self.status in FINISHED

    @property
    def elapsed_seconds(self) -> int | None:
        """How long it has run, or ran; None when it never started."""
        if self.started_at is None:
            return None
        return max(0, round(((self.finished_at or timezone.now()) - self.started_at).total_seconds()))

    @property
    def next_step(self) -> str:
        return next_step(self.reason, self.message)

    @property
    def is_held_up(self) -> bool:
        """The cluster has it, and cannot run it now."""
        return self.status == JobStatus.STARTING and self.reason in HELD_UP

    @property
    def can_stop(self) -> bool:
        return self.status in UNFINISHED and self.status != JobStatus.STOPPING

    @property
    def has_terminal(self) -> bool:
        return self.is_debug and self.status == JobStatus.RUNNING

    @property
    def ends_at(self) -> datetime | None:
        """When a debug session ends by itself; None before its container has started."""
        if not self.is_debug or self.started_at is None or self.time_limit_seconds is None:
            return None
        return self.started_at + timedelta(seconds=self.time_limit_seconds)

    def move_to(self, status: JobStatus) -> None:
        """Change status in memory; the service that called decides when to save and tell."""
        if status not in NEXT[JobStatus(self.status)]:
            raise InvalidTransition(f"{self} cannot go from {self.status} to {status}")
        self.status = status
        self.version += 1


class Attempt(models.Model):
    """One try to run a job: one Kubernetes Job with a fixed name."""

    job = models.ForeignKey(Job, on_delete=models.CASCADE, related_name="attempts")
    number = models.PositiveSmallIntegerField()
    object_name = models.CharField(max_length=63, help_text=_("The name of the Kubernetes Job."))
    object_uid = models.CharField(max_length=36, blank=True)
    status = models.CharField(max_length=16, choices=JobStatus.choices, default=JobStatus.QUEUED)
    reason = models.CharField(max_length=32, choices=Reason.choices, blank=True)
    message = models.TextField(blank=True)
    exit_code = models.IntegerField(null=True)
    outputs = models.JSONField(null=True, help_text=_("The object it wrote to $CUBE_OUTPUTS."))
    outputs_problem = models.CharField(max_length=300, blank=True, help_text=_("Why what it wrote there is no use."))
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["number"]
        constraints = [models.UniqueConstraint(fields=["job", "number"], name="one_attempt_per_number")]

    def __str__(self) -> str:
        return self.object_name


class Pod(models.Model):
    """What became of each pod of an attempt, kept when the pod itself is gone."""

    attempt = models.ForeignKey(Attempt, on_delete=models.CASCADE, related_name="pods")
    uid = models.CharField(max_length=36)
    name = models.CharField(max_length=253)
    rank = models.PositiveIntegerField(null=True, help_text=_("The completion index of a distributed job."))
    node = models.CharField(max_length=253, blank=True)
    phase = models.CharField(max_length=16, default="Pending")
    reason = models.CharField(max_length=32, choices=Reason.choices, blank=True)
    message = models.TextField(blank=True)
    exit_code = models.IntegerField(null=True)
    restarts = models.PositiveIntegerField(default=0)
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)
    deleted_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["rank", "id"]
        constraints = [models.UniqueConstraint(fields=["attempt", "uid"], name="one_row_per_pod")]

    def __str__(self) -> str:
        return self.name


class JobEvent(models.Model):
    """The timeline of a job: what happened, told to people."""

    job = models.ForeignKey(Job, on_delete=models.CASCADE, related_name="events")
    at = models.DateTimeField()
    status = models.CharField(max_length=16, choices=JobStatus.choices, blank=True)
    reason = models.CharField(max_length=32, choices=Reason.choices, blank=True)
    text = models.TextField()
    actor = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+")

    class Meta:
        ordering = ["id"]

    def __str__(self) -> str:
        return self.text

    @property
    def cluster_words(self) -> str:
        """What Kubernetes said of a wait; a page leads with what that means. Empty of any other event."""
        is_wait = self.status == JobStatus.STARTING and self.reason
        return self.text.removeprefix("Waiting: ") if is_wait else ""

    @property
    def next_step(self) -> str:
        return next_step(self.reason, self.text)


class Terminal(models.Model):
    """A terminal that somebody opened in a debug session. Web processes die: what is not seen for long is closed."""

    job = models.ForeignKey(Job, on_delete=models.CASCADE, related_name="terminals")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+")
    opened_at = models.DateTimeField()
    seen_at = models.DateTimeField()
    closed_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["id"]
        indexes = [models.Index(fields=["seen_at"], name="terminal_open", condition=models.Q(closed_at=None))]

    def __str__(self) -> str:
        return f"{self.job_id}/{self.pk}"
