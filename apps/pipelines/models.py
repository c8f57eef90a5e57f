"""What is remembered of pipelines. Whatever may be looked for all the time is indexed over unfinished rows alone, so
that the cost of running does not grow with history."""

from typing import Any

from django.conf import settings
from django.core.validators import MaxValueValidator, MinValueValidator, RegexValidator
from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from apps.core.errors import InvalidTransition
from apps.core.models import PublicIdModel, TimestampedModel
from apps.jobs.choices import FINISHED as JOB_FINISHED
from apps.jobs.choices import JobStatus
from apps.jobs.models import Job
from apps.projects.owned import ProjectOwned, ProjectOwnedQuerySet

from .choices import (
    RUN_FINISHED,
    RUN_NEXT,
    RUN_UNFINISHED,
    TASK_ACTIVE,
    TASK_FINISHED,
    TASK_UNFINISHED,
    Launch,
    RunStatus,
    TaskStatus,
    Why,
)

WHOLE = -1  # the index of a task itself; its items, when it runs `for_each`, count from 0
name_validator = RegexValidator(r"^[^\x00-\x1f\x7f]*\Z", _("A name has no line breaks or control characters."))


class PipelineQuerySet(ProjectOwnedQuerySet):
    def in_use(self) -> "PipelineQuerySet":
        return self.filter(is_archived=False)

    def with_newest(self) -> "PipelineQuerySet":
        """Annotates `newest`, the number of the newest version."""
        numbers = Version.objects.filter(pipeline=models.OuterRef("pk")).order_by("-number").values("number")
        return self.annotate(newest=models.Subquery(numbers[:1]))


class Pipeline(ProjectOwned, PublicIdModel, TimestampedModel):
    """A graph of tasks under a name. What it does is in its versions."""

    name = models.CharField(max_length=100, validators=[name_validator])
    description = models.TextField(blank=True, max_length=5000)
    is_archived = models.BooleanField(default=False)
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+")

    objects = PipelineQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]
        constraints = [models.UniqueConstraint(fields=["project", "name"], name="one_pipeline_per_name")]

    def __str__(self) -> str:
        return f"{self.project}/{self.name}"


class Version(models.Model):
    """One immutable edition of a graph. Beside it stands what starting a run needs, so that the graph, which may be
    large, is not read for that."""

    pipeline = models.ForeignKey(Pipeline, on_delete=models.CASCADE, related_name="versions")
    number = models.PositiveIntegerField()
    graph = models.JSONField()
    digest = models.CharField(max_length=64, help_text=_("SHA-256 of the graph as canonical JSON."))
    schema = models.JSONField(help_text=_("What a run is asked for: the graph's `params`."))
    parallelism = models.PositiveSmallIntegerField()
    timeout_seconds = models.PositiveIntegerField(null=True)
    task_count = models.PositiveIntegerField()
    comment = models.CharField(max_length=300, blank=True)
    author = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-number"]
        constraints = [models.UniqueConstraint(fields=["pipeline", "number"], name="one_version_per_number")]

    def __str__(self) -> str:
        return f"{self.pipeline.name} v{self.number}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        if not self._state.adding:
            raise TypeError("A pipeline version never changes: save a new one.")
        super().save(*args, **kwargs)


class RunQuerySet(ProjectOwnedQuerySet):
    def unfinished(self) -> "RunQuerySet":
        return self.filter(status__in=RUN_UNFINISHED)

    def for_lists(self) -> "RunQuerySet":
        """With what a row shows, and without the graph."""
        related = ("project", "pipeline", "pipeline_version", "started_by", "rerun_of")
        return self.select_related(*related).defer(
            "pipeline_version__graph",
            "pipeline_version__schema",
            "pipeline__description",
            "started_by__password",
            "rerun_of__params",
        )


class Run(ProjectOwned, PublicIdModel, TimestampedModel):
    """One execution of a version. The counters are kept under the row's lock, so that no event has to count rows."""

    pipeline = models.ForeignKey(Pipeline, on_delete=models.CASCADE, related_name="runs")
    pipeline_version = models.ForeignKey(Version, on_delete=models.CASCADE, related_name="+")
    params = models.JSONField(default=dict, help_text=_("As validated against the version's schema."))
    trigger = models.CharField(max_length=16, choices=Launch.choices, default=Launch.MANUAL)
    logical_at = models.DateTimeField(null=True)
    interval_start = models.DateTimeField(null=True)
    interval_end = models.DateTimeField(null=True)
    priority = models.IntegerField(default=0, validators=[MinValueValidator(-100), MaxValueValidator(100)])
    parallelism = models.PositiveSmallIntegerField(default=32)
    reuses = models.BooleanField(default=False, help_text=_("Takes over what succeeded in the run it is a rerun of."))
    only = models.CharField(max_length=40, blank=True, help_text=_("The one task that is to run; empty: all."))

    status = models.CharField(max_length=16, choices=RunStatus.choices, default=RunStatus.QUEUED)
    version = models.PositiveIntegerField(default=0)
    reason = models.CharField(max_length=32, choices=Why.choices, blank=True)
    message = models.TextField(blank=True)
    attempt = models.PositiveSmallIntegerField(default=1, help_text=_("How often it was begun: 1, and once per clear."))
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)
    deadline_at = models.DateTimeField(null=True)
    checked_at = models.DateTimeField(null=True, help_text=_("When the sweep last compared it with its tasks."))
    started_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+")
    rerun_of = models.ForeignKey("self", null=True, on_delete=models.SET_NULL, related_name="reruns")

    unfinished_tasks = models.PositiveIntegerField(default=0, help_text=_("Of the graph, items not counted."))
    active_tasks = models.PositiveIntegerField(default=0, help_text=_("With a job, items counted."))
    ready_tasks = models.PositiveIntegerField(default=0, help_text=_("That may start, items counted."))
    failed_tasks = models.PositiveIntegerField(default=0, help_text=_("That failed and were not ignored."))
    ignored_tasks = models.PositiveIntegerField(default=0, help_text=_("That failed and were ignored."))
    task_rows = models.PositiveIntegerField(default=0)
    retries = models.PositiveIntegerField(default=0)

    objects = RunQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.CheckConstraint(name="run_status_is_known", condition=models.Q(status__in=RunStatus.values))
        ]
        indexes = [
            models.Index(fields=["project", "-id"], name="run_list"),
            models.Index(fields=["pipeline", "-id"], name="run_list_of_pipeline"),
            models.Index(fields=["pipeline", "-logical_at"], name="run_by_logical_time"),
            models.Index(fields=["id"], name="run_unfinished", condition=models.Q(status__in=sorted(RUN_UNFINISHED))),
            models.Index(fields=["id"], name="run_queued", condition=models.Q(status="queued")),
            models.Index(
                fields=["deadline_at"],
                name="run_with_deadline",
                condition=models.Q(status="running", deadline_at__isnull=False),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.pipeline.name}#{self.pk}"

    @property
    def is_finished(self) -> bool:
        return self.status in RUN_FINISHED

    @property
    def can_stop(self) -> bool:
        return self.status in RUN_UNFINISHED and self.status != RunStatus.STOPPING

    @property
    def elapsed_seconds(self) -> int | None:
        """How long it has run, or ran; None when it never began."""
        if self.started_at is None:
            return None
        return max(0, round(((self.finished_at or timezone.now()) - self.started_at).total_seconds()))

    def move_to(self, status: RunStatus) -> None:
        """Change status in memory; the service that called decides when to save and tell."""
        if status not in RUN_NEXT[RunStatus(self.status)]:
            raise InvalidTransition(f"{self} cannot go from {self.status} to {status}")
        self.status = status
        self.version += 1


class TaskRunQuerySet(models.QuerySet["TaskRun"]):
    def lagging(self) -> "TaskRunQuerySet":
        """Active tasks whose jobs have moved on: found among active rows alone."""
        moved = models.Q(job__status__in=JOB_FINISHED) | models.Q(status="submitted", job__status=JobStatus.RUNNING)
        return self.filter(models.Q(job=None) | moved, status__in=TASK_ACTIVE, item_count=None)


class TaskRun(models.Model):
    """A task within a run, or one item of a task that runs `for_each`.

    The `needs_*` columns tally how the tasks before it ended, `items_*` how its items do, so that an event looks at
    neighbours and not at all tasks.
    """

    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="tasks")
    key = models.CharField(max_length=40)
    index = models.IntegerField(default=WHOLE)
    item = models.JSONField(null=True)
    status = models.CharField(max_length=16, choices=TaskStatus.choices, default=TaskStatus.WAITING)
    is_ignored = models.BooleanField(default=False, help_text=_("Counts as succeeded for what needs it."))
    reason = models.CharField(max_length=32, blank=True, help_text=_("A reason of runs or of jobs."))
    message = models.TextField(blank=True)
    params = models.JSONField(null=True, help_text=_("As submitted, expressions evaluated."))
    outputs = models.JSONField(null=True)
    priority = models.IntegerField(default=0)

    job = models.OneToOneField(Job, null=True, on_delete=models.SET_NULL, related_name="task_run")
    tries = models.PositiveIntegerField(default=0, help_text=_("Jobs made for it, ever."))
    failures = models.PositiveSmallIntegerField(default=0, help_text=_("That count against its retries."))
    free_failures = models.PositiveSmallIntegerField(default=0, help_text=_("That were not its fault."))
    memory_factor = models.PositiveSmallIntegerField(default=1)

    item_count = models.PositiveIntegerField(null=True, help_text=_("Items made for it; empty: it has none."))
    items_left = models.PositiveIntegerField(default=0)
    items_failed = models.PositiveIntegerField(default=0)
    needs_total = models.PositiveIntegerField(default=0)
    needs_succeeded = models.PositiveIntegerField(default=0)
    needs_failed = models.PositiveIntegerField(default=0)
    needs_skipped = models.PositiveIntegerField(default=0)

    ready_at = models.DateTimeField(null=True)
    due_at = models.DateTimeField(null=True, help_text=_("Not to be tried before."))
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)

    objects = TaskRunQuerySet.as_manager()

    class Meta:
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(fields=["run", "key", "index"], name="one_row_per_task_and_item"),
            models.CheckConstraint(name="task_status_is_known", condition=models.Q(status__in=TaskStatus.values)),
        ]
        indexes = [
            models.Index(fields=["run", "-priority", "id"], name="task_ready", condition=models.Q(status="ready")),
            models.Index(fields=["run", "id"], name="task_active", condition=models.Q(status__in=sorted(TASK_ACTIVE))),
        ]

    def __str__(self) -> str:
        return self.key if self.index == WHOLE else f"{self.key}[{self.index}]"

    @property
    def is_finished(self) -> bool:
        return self.status in TASK_FINISHED

    @property
    def is_unfinished(self) -> bool:
        return self.status in TASK_UNFINISHED

    @property
    def is_item(self) -> bool:
        return self.index != WHOLE


class TaskTry(models.Model):
    """One job made for a task. The newest is also the task's own `job`."""

    task = models.ForeignKey(TaskRun, on_delete=models.CASCADE, related_name="history")
    number = models.PositiveIntegerField()
    job = models.OneToOneField(Job, null=True, on_delete=models.SET_NULL, related_name="task_try")
    at = models.DateTimeField()

    class Meta:
        ordering = ["number"]
        constraints = [models.UniqueConstraint(fields=["task", "number"], name="one_row_per_try")]

    def __str__(self) -> str:
        return f"{self.task} #{self.number}"


class RunEvent(models.Model):
    """The timeline of a run: what happened, told to people."""

    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="events")
    at = models.DateTimeField()
    key = models.CharField(max_length=60, blank=True, help_text=_("The task it is about, as `train` or `train[3]`."))
    status = models.CharField(max_length=16, blank=True)
    reason = models.CharField(max_length=32, blank=True)
    text = models.TextField()
    actor = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+")

    class Meta:
        ordering = ["id"]

    def __str__(self) -> str:
        return self.text
