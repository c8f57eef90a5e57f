from django.db import models
from django.utils.translation import gettext_lazy as _


class Kind(models.TextChoices):
    CRON = "cron", _("Cron")
    INTERVAL = "interval", _("Fixed interval")
    AFTER = "after", _("After pipelines")


class FoldChoice(models.TextChoices):
    """Of a time that comes twice, when clocks are set back."""

    FIRST = "first", _("The first")
    SECOND = "second", _("The second")
    BOTH = "both", _("Both")


class CatchUp(models.TextChoices):
    """What becomes of times that passed while nothing could run."""

    NONE = "none", _("None: leave missed times out")
    LATEST = "latest", _("Latest: run the newest one")
    ALL = "all", _("All: run each, oldest first")


class Overlap(models.TextChoices):
    """What becomes of a time when as many runs as are allowed are active."""

    QUEUE = "queue", _("Queue: wait, oldest first")
    QUEUE_LATEST = "queue_latest", _("Queue one: only the newest waits")
    SKIP = "skip", _("Skip it")
    CANCEL = "cancel", _("Cancel the oldest active run, start at once")
    REPLACE = "replace", _("Cancel the oldest active run, start when it has ended")
    PARALLEL = "parallel", _("Parallel: start it all the same")


class Past(models.TextChoices):
    """Whether a time waits for the one before it."""

    OFF = "off", _("Does not wait for the time before")
    SUCCEEDED = "succeeded", _("The time before has succeeded")
    FINISHED = "finished", _("The time before has ended")


class SlotStatus(models.TextChoices):
    WAITING = "waiting", _("Waiting")
    RUNNING = "running", _("Running")
    SUCCEEDED = "succeeded", _("Succeeded")
    FAILED = "failed", _("Failed")
    STOPPED = "stopped", _("Stopped")
    SKIPPED = "skipped", _("Skipped")
    MISSED = "missed", _("Missed")


# Each status falls in exactly one set; a test holds that, so a new status has to choose.
UNFINISHED = frozenset({SlotStatus.WAITING, SlotStatus.RUNNING})
RAN = frozenset({SlotStatus.SUCCEEDED, SlotStatus.FAILED, SlotStatus.STOPPED})
NOT_RUN = frozenset({SlotStatus.SKIPPED, SlotStatus.MISSED})
FINISHED = RAN | NOT_RUN


class Why(models.TextChoices):
    """Why a slot waits, or why it did not run: a stable word for programs; `message` has the details."""

    NONE = "", ""
    # while it waits
    NOT_DUE = "NotDue", _("Its start is a little later (spread)")
    ACTIVE_RUNS = "MaxActiveRuns", _("As many runs as allowed are active")
    PAST = "DependsOnPast", _("The time before has to end first")
    PAST_FAILED = "PastFailed", _("The time before did not succeed")
    UPSTREAM = "WaitsForPipelines", _("Another pipeline has to succeed for the same time")
    REPLACING = "Replacing", _("The run it replaces is ending")
    RETRY = "Retry", _("It is tried again later")
    LAUNCH_FAILED = "LaunchFailed", _("The run could not be started")
    PAUSED = "Paused", _("The schedule is paused")
    BACKFILL_PAUSED = "BackfillPaused", _("The backfill is paused")
    BACKFILL_CAP = "BackfillMaxActive", _("As many runs of the backfill as allowed are active")
    # why it did not run
    CATCH_UP_NONE = "CatchUpNone", _("It passed while nothing could run, and missed times are left out")
    CATCH_UP_LATEST = "NewerCaughtUp", _("It passed while nothing could run; only the newest was caught up")
    CATCH_UP_LIMIT = "CatchUpLimit", _("It passed while nothing could run; more were missed than are caught up")
    CATCH_UP_WINDOW = "CatchUpWindow", _("It passed too long ago to be caught up")
    UPSTREAM_LATE = "UpstreamLate", _("It waited too long for other pipelines")
    OVERLAP = "Overlap", _("As many runs as allowed were active")
    SUPERSEDED = "Superseded", _("A newer time took its place")
    EXPIRED = "Expired", _("Only the newest are kept")
    EDITED = "Edited", _("The timetable was changed while the schedule was paused")
    BY_HAND = "ByHand", _("Skipped by a person")
    BACKFILL_CANCELLED = "BackfillCancelled", _("The backfill was cancelled")
    # how it ended otherwise
    MARKED = "Marked", _("Marked by a person")
    IGNORED = "FailureIgnored", _("Its failure is ignored")
    RUN_GONE = "RunGone", _("Its run was deleted")


class Mark(models.TextChoices):
    """What a person may say of a time that does not run."""

    SUCCEEDED = "succeeded", _("Succeeded")
    FAILED = "failed", _("Failed")
    SKIPPED = "skipped", _("Skipped")


class Order(models.TextChoices):
    UP = "up", _("Oldest first")
    DOWN = "down", _("Newest first")


class Reprocess(models.TextChoices):
    """What a backfill does with times that have a slot."""

    NONE = "none", _("Leave them")
    FAILED = "failed", _("Run those again that did not succeed")
    ALL = "all", _("Run all of them again")


class BackfillStatus(models.TextChoices):
    RUNNING = "running", _("Running")
    PAUSED = "paused", _("Paused")
    FINISHED = "finished", _("Finished")
    CANCELLED = "cancelled", _("Cancelled")


# How each looks: the name of a badge of the design system.
BADGES = {
    SlotStatus.WAITING: "pending",
    SlotStatus.RUNNING: "running",
    SlotStatus.SUCCEEDED: "succeeded",
    SlotStatus.FAILED: "failed",
    SlotStatus.STOPPED: "stopped",
    SlotStatus.SKIPPED: "stopped",
    SlotStatus.MISSED: "stopping",
}
BACKFILL_BADGES = {
    BackfillStatus.RUNNING: "running",
    BackfillStatus.PAUSED: "stopping",
    BackfillStatus.FINISHED: "succeeded",
    BackfillStatus.CANCELLED: "stopped",
}
