from django.db import models
from django.utils.translation import gettext_lazy as _


class Launch(models.TextChoices):
    """What started a run."""

    MANUAL = "manual", _("By hand")
    SCHEDULE = "schedule", _("Schedule")
    BACKFILL = "backfill", _("Backfill")
    RERUN = "rerun", _("Rerun")
    API = "api", _("API")


class RunStatus(models.TextChoices):
    QUEUED = "queued", _("Queued")
    RUNNING = "running", _("Running")
    STOPPING = "stopping", _("Stopping")
    SUCCEEDED = "succeeded", _("Succeeded")
    FAILED = "failed", _("Failed")
    STOPPED = "stopped", _("Stopped")


# Each status falls in exactly one set; a test holds that, so a new status has to choose.
RUN_WAITING = frozenset({RunStatus.QUEUED})
RUN_ACTIVE = frozenset({RunStatus.RUNNING, RunStatus.STOPPING})
RUN_FINISHED = frozenset({RunStatus.SUCCEEDED, RunStatus.FAILED, RunStatus.STOPPED})
RUN_UNFINISHED = RUN_WAITING | RUN_ACTIVE

RUN_NEXT: dict[RunStatus, frozenset[RunStatus]] = {
    RunStatus.QUEUED: frozenset({RunStatus.RUNNING, RunStatus.STOPPED, RunStatus.FAILED}),
    RunStatus.RUNNING: frozenset({RunStatus.STOPPING}) | RUN_FINISHED,
    RunStatus.STOPPING: frozenset({RunStatus.STOPPED, RunStatus.FAILED}),
    # A person cleared or marked a task of it: the same run goes on, or is judged anew.
    **{status: frozenset({RunStatus.RUNNING}) | (RUN_FINISHED - {status}) for status in RUN_FINISHED},
}


class TaskStatus(models.TextChoices):
    WAITING = "waiting", _("Waiting for other tasks")
    READY = "ready", _("Ready")  # waits for a place within the run's parallelism, or for its next try
    SUBMITTED = "submitted", _("Submitted")
    RUNNING = "running", _("Running")
    SUCCEEDED = "succeeded", _("Succeeded")
    FAILED = "failed", _("Failed")
    UPSTREAM_FAILED = "upstream_failed", _("Upstream failed")
    SKIPPED = "skipped", _("Skipped")
    STOPPED = "stopped", _("Stopped")


TASK_WAITING = frozenset({TaskStatus.WAITING, TaskStatus.READY})
TASK_ACTIVE = frozenset({TaskStatus.SUBMITTED, TaskStatus.RUNNING})
TASK_FINISHED = frozenset(
    {
        TaskStatus.SUCCEEDED, TaskStatus.FAILED, TaskStatus.UPSTREAM_FAILED, TaskStatus.SKIPPED, TaskStatus.STOPPED,
    }
)  # fmt: skip
TASK_UNFINISHED = TASK_WAITING | TASK_ACTIVE


class Trigger(models.TextChoices):
    """When a task starts, given how those it needs ended. `docs/pipelines.md` says each in words."""

    ALL_SUCCESS = "all_success", _("All succeeded")
    ALL_DONE = "all_done", _("All ended")
    ONE_SUCCESS = "one_success", _("One succeeded")
    ONE_FAILED = "one_failed", _("One failed")
    NONE_FAILED = "none_failed", _("None failed")
    NONE_FAILED_MIN_ONE_SUCCESS = "none_failed_min_one_success", _("None failed, one succeeded")
    ALL_FAILED = "all_failed", _("All failed")
    ALWAYS = "always", _("At once")


class Why(models.TextChoices):
    """Why a run or task ended as it did, beside the reasons of jobs: a stable word for programs."""

    NONE = "", ""
    JOB = "JobFailed", _("Its job failed")
    JOB_DELETED = "JobDeleted", _("Its job was deleted before it was looked at")
    EXPRESSION = "ExpressionFailed", _("An expression could not be evaluated")
    INVALID = "InvalidInput", _("What it would be submitted with is not valid")
    OUTPUTS = "InvalidOutputs", _("What it wrote as outputs cannot be used")
    ITEMS = "ItemsFailed", _("Items of it failed")
    NO_ITEMS = "NoItems", _("There was no item to run for")
    TOO_MANY = "TooManyTasks", _("The run would have too many tasks")
    UPSTREAM = "Upstream", _("Because of how the tasks before it ended")
    CONDITION = "ConditionFalse", _("Its condition did not hold")
    SWITCHED_OFF = "SwitchedOff", _("It is switched off")
    REUSED = "Reused", _("Taken over from the run before")
    OUT_OF_SCOPE = "NotChosen", _("Only another task was to run")
    MARKED = "Marked", _("Marked by a person")
    IGNORED = "FailuresIgnored", _("With failures that were ignored")
    TASKS = "TasksFailed", _("Tasks of it failed")
    TIMEOUT = "TimedOut", _("It took longer than allowed")
    STOPPED = "Stopped", _("Stopped by a person")
    TEMPLATE = "TemplateGone", _("A template version it uses is gone")
