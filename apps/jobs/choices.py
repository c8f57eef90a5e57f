from django.db import models
from django.utils.translation import gettext_lazy as _


class JobStatus(models.TextChoices):
    QUEUED = "queued", _("Queued")
    STARTING = "starting", _("Starting")
    RUNNING = "running", _("Running")
    STOPPING = "stopping", _("Stopping")
    SUCCEEDED = "succeeded", _("Succeeded")
    FAILED = "failed", _("Failed")
    STOPPED = "stopped", _("Stopped")


# Each status falls in exactly one set; a test holds that, so a new status has to choose.
WAITING = frozenset({JobStatus.QUEUED})
ACTIVE = frozenset({JobStatus.STARTING, JobStatus.RUNNING, JobStatus.STOPPING})
FINISHED = frozenset({JobStatus.SUCCEEDED, JobStatus.FAILED, JobStatus.STOPPED})
UNFINISHED = WAITING | ACTIVE

NEXT: dict[JobStatus, frozenset[JobStatus]] = {
    JobStatus.QUEUED: frozenset({JobStatus.STARTING, JobStatus.STOPPING, JobStatus.STOPPED, JobStatus.FAILED}),
    # Back to QUEUED: the attempt failed and another one is allowed.
    JobStatus.STARTING: frozenset({JobStatus.RUNNING, JobStatus.STOPPING, JobStatus.QUEUED}) | FINISHED,
    JobStatus.RUNNING: frozenset({JobStatus.STOPPING, JobStatus.QUEUED}) | FINISHED,
    JobStatus.STOPPING: FINISHED,
    **{status: frozenset() for status in FINISHED},
}


class Reason(models.TextChoices):
    """Why a job, attempt or pod ended or waits: a stable word for programs; `message` has the details."""

    NONE = "", ""
    COMPLETED = "Completed", _("Completed")
    ERROR = "Error", _("The program exited with an error")
    OUT_OF_MEMORY = "OOMKilled", _("Killed: it used more memory than its limit")
    DEADLINE = "DeadlineExceeded", _("It ran longer than allowed")
    STOPPED = "Stopped", _("Stopped by a person")
    UNSCHEDULABLE = "Unschedulable", _("No node has room for it")
    IMAGE = "ImagePullFailed", _("The image cannot be pulled")
    START_ERROR = "StartError", _("The container could not start")
    EVICTED = "Evicted", _("The node evicted or lost it")
    REFUSED = "Refused", _("The cluster refused the job")
    LOST = "Lost", _("It vanished from the cluster")
    QUOTA = "QuotaExceeded", _("It exceeds a quota of the cluster")


# Of a starting job: none of it runs, and the cluster knows why.
HELD_UP = frozenset({Reason.UNSCHEDULABLE, Reason.QUOTA})


def waits(status: str, reason: str) -> bool:
    """Queued, or in the cluster's own queue: for a person both are waiting."""
    return status in WAITING or (status == JobStatus.STARTING and reason in HELD_UP)
