"""Schedules, their slots and backfills. What the engine asks for every second is indexed over unfinished rows alone."""

import uuid as uuids
from datetime import UTC, datetime, timedelta

from django.conf import settings
from django.core.validators import MaxValueValidator, MinValueValidator, RegexValidator
from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from apps.core.models import PublicIdModel, TimestampedModel
from apps.pipelines.models import Pipeline, Run, Version
from apps.projects.owned import ProjectOwned, ProjectOwnedQuerySet

from .choices import (
    BACKFILL_BADGES,
    BADGES,
    FINISHED,
    UNFINISHED,
    BackfillStatus,
    CatchUp,
    FoldChoice,
    Kind,
    Order,
    Overlap,
    Past,
    Reprocess,
    SlotStatus,
    Why,
)
from .timetables import Fold, Interval, Timetable, describe, parse

YEAR_SECONDS = 365 * 24 * 3600
name_validator = RegexValidator(
    r"^(?!\s*\Z)[^\x00-\x1f\x7f/]+\Z", _("A name has no line breaks and no '/', and is not blank.")
)


def _seconds(least: int = 0, most: int = YEAR_SECONDS, **more):  # type: ignore[no-untyped-def]
    return models.PositiveIntegerField(validators=[MinValueValidator(least), MaxValueValidator(most)], **more)


class ScheduleQuerySet(ProjectOwnedQuerySet):
    def for_lists(self) -> "ScheduleQuerySet":
        return self.select_related("project", "pipeline", "paused_by").defer("params", "pipeline__description")


class Schedule(ProjectOwned, PublicIdModel, TimestampedModel):
    """When a pipeline runs, and under which conditions. `next_*` is the engine's, kept under the row's lock."""

    name = models.CharField(max_length=100, validators=[name_validator])
    pipeline = models.ForeignKey(Pipeline, on_delete=models.CASCADE, related_name="schedules")
    pipeline_version = models.ForeignKey(
        Version, null=True, blank=True, on_delete=models.PROTECT, related_name="+", help_text=_("Empty: the newest.")
    )
    params = models.JSONField(default=dict, blank=True)
    priority = models.IntegerField(default=0, validators=[MinValueValidator(-100), MaxValueValidator(100)])

    kind = models.CharField(max_length=16, choices=Kind.choices, default=Kind.CRON)
    cron = models.CharField(max_length=200, blank=True)
    interval_seconds = models.PositiveIntegerField(null=True, blank=True)
    after = models.ManyToManyField(Pipeline, blank=True, related_name="followed_by")
    zone = models.CharField(max_length=64, default="UTC")
    fold = models.CharField(max_length=8, choices=FoldChoice.choices, default=FoldChoice.FIRST)
    start_at = models.DateTimeField(null=True, blank=True)
    end_at = models.DateTimeField(null=True, blank=True)
    jitter_seconds = _seconds(most=24 * 3600, default=0)

    catch_up = models.CharField(max_length=8, choices=CatchUp.choices, default=CatchUp.LATEST)
    catch_up_limit = models.PositiveIntegerField(
        default=1000, validators=[MinValueValidator(1), MaxValueValidator(1000)]
    )
    catch_up_window_seconds = _seconds(default=3600)
    max_active_runs = models.PositiveSmallIntegerField(
        default=1, validators=[MinValueValidator(1), MaxValueValidator(1000)]
    )
    overlap = models.CharField(max_length=16, choices=Overlap.choices, default=Overlap.QUEUE)
    depends_on_past = models.CharField(max_length=16, choices=Past.choices, default=Past.OFF)
    past_allows_missed = models.BooleanField(default=True)
    past_allows_stopped = models.BooleanField(default=False)
    waits_for = models.ManyToManyField(Pipeline, blank=True, related_name="awaited_by")
    wait_seconds = _seconds(least=1, null=True, blank=True)
    keep_newest = models.PositiveIntegerField(
        null=True, blank=True, validators=[MinValueValidator(1), MaxValueValidator(10_000)]
    )
    run_retries = models.PositiveSmallIntegerField(default=0, validators=[MaxValueValidator(20)])
    run_retry_delay_seconds = _seconds(most=24 * 3600, default=300)
    deadline_seconds = _seconds(least=1, null=True, blank=True)
    pause_after_failures = models.PositiveSmallIntegerField(default=10, validators=[MaxValueValidator(1000)])

    is_paused = models.BooleanField(default=False)
    paused_note = models.CharField(max_length=300, blank=True)
    paused_at = models.DateTimeField(null=True)
    paused_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+")
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+")

    anchor_at = models.DateTimeField(default=timezone.now, help_text=_("Nothing before it is this timetable's."))
    last_logical_at = models.DateTimeField(null=True)
    next_logical_at = models.DateTimeField(null=True)
    next_fire_at = models.DateTimeField(null=True)
    failures_in_a_row = models.PositiveIntegerField(default=0)
    version = models.PositiveIntegerField(default=0)

    objects = ScheduleQuerySet.as_manager()

    class Meta:
        ordering = ["name"]
        constraints = [
            models.UniqueConstraint(fields=["project", "name"], name="one_schedule_per_name"),
            models.CheckConstraint(name="schedule_kind_is_known", condition=Q(kind__in=Kind.values)),
        ]
        indexes = [
            models.Index(
                fields=["next_fire_at"],
                name="schedule_due",
                condition=Q(is_paused=False, next_fire_at__isnull=False),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.project}/{self.name}"

    @property
    def timetable(self) -> Timetable | None:
        """None for a schedule that follows pipelines. Raises InvalidInput naming the field that is wrong."""
        return timetable_of(self.kind, self.cron, self.zone, self.fold, self.interval_seconds, self.anchor)

    @property
    def anchor(self) -> datetime:
        """From where intervals count: the start that was asked for, or the save."""
        return self.start_at or self.anchor_at

    @property
    def in_words(self) -> str:
        timetable = self.timetable
        if timetable is None:
            return str(_("After other pipelines"))
        return describe(timetable)  # type: ignore[arg-type]

    @property
    def deadline(self) -> timedelta | None:
        """How long after its logical time a time has to have ended."""
        return None if self.deadline_seconds is None else timedelta(seconds=self.deadline_seconds)

    def late_at(self, logical_at: datetime) -> datetime | None:
        """When a live time becomes late, unless it has ended."""
        return None if self.deadline is None else logical_at + self.deadline

    @property
    def jitter(self) -> int:
        """Seconds this schedule starts after its times: always the same, spread evenly over schedules."""
        return self.uid.int % (self.jitter_seconds + 1)


def timetable_of(
    kind: str, cron: str, zone: str, fold: str, interval_seconds: int | None, anchor: datetime
) -> Timetable | None:
    if kind == Kind.CRON:
        return parse(cron, zone, Fold(fold))
    if kind == Kind.INTERVAL:
        return Interval(interval_seconds or 0, anchor)
    return None


class Backfill(ProjectOwned, PublicIdModel, TimestampedModel):
    """Times of the past, run beside the live ones: with a cap of its own, never against theirs."""

    schedule = models.ForeignKey(Schedule, on_delete=models.CASCADE, related_name="backfills")
    from_at = models.DateTimeField()
    to_at = models.DateTimeField()
    order = models.CharField(max_length=8, choices=Order.choices, default=Order.UP)
    reprocess = models.CharField(max_length=8, choices=Reprocess.choices, default=Reprocess.NONE)
    max_active_runs = models.PositiveSmallIntegerField(
        default=2, validators=[MinValueValidator(1), MaxValueValidator(1000)]
    )
    params = models.JSONField(default=dict, blank=True, help_text=_("Instead of the schedule's, where given."))
    status = models.CharField(max_length=16, choices=BackfillStatus.choices, default=BackfillStatus.RUNNING)
    slot_count = models.PositiveIntegerField(default=0)
    left_out = models.JSONField(default=list, help_text=_("[[time, why no run was made], …]"))
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+")
    finished_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["-id"]
        indexes = [
            models.Index(fields=["id"], name="backfill_unfinished", condition=Q(status__in=["running", "paused"]))
        ]

    def __str__(self) -> str:
        return f"{self.schedule.name} {self.from_at:%Y-%m-%d %H:%M} to {self.to_at:%Y-%m-%d %H:%M}"

    @property
    def is_finished(self) -> bool:
        return self.status in {BackfillStatus.FINISHED, BackfillStatus.CANCELLED}

    @property
    def badge(self) -> str:
        return BACKFILL_BADGES[BackfillStatus(self.status)]


class SlotQuerySet(ProjectOwnedQuerySet):
    def unfinished(self) -> "SlotQuerySet":
        return self.filter(status__in=UNFINISHED)

    def for_lists(self) -> "SlotQuerySet":
        return self.select_related("schedule", "project", "run", "backfill").defer("schedule__params", "run__params")


class Slot(ProjectOwned, TimestampedModel):
    """One logical time of a schedule: there is one row of it, whatever is started, killed or sent twice."""

    uid = models.UUIDField(unique=True, editable=False)
    schedule = models.ForeignKey(Schedule, on_delete=models.CASCADE, related_name="slots")
    logical_at = models.DateTimeField()
    interval_start = models.DateTimeField(null=True)
    due_at = models.DateTimeField(help_text=_("Not to be started before."))
    status = models.CharField(max_length=16, choices=SlotStatus.choices, default=SlotStatus.WAITING)
    reason = models.CharField(max_length=32, choices=Why.choices, blank=True)
    message = models.CharField(max_length=500, blank=True)
    reason_at = models.DateTimeField(null=True, help_text=_("Since when `reason` holds."))
    check_at = models.DateTimeField(null=True, help_text=_("When to look again though nothing was announced."))
    late_at = models.DateTimeField(
        null=True, help_text=_("Its deadline, while it is live, has not ended, and nobody was told that it has passed.")
    )
    run = models.ForeignKey(Run, null=True, on_delete=models.SET_NULL, related_name="slots")
    tries = models.PositiveSmallIntegerField(default=0, help_text=_("Runs started for it, ever."))
    failures = models.PositiveSmallIntegerField(default=0, help_text=_("Since it was last asked for."))
    is_forced = models.BooleanField(default=False, help_text=_("A person wants it now, whatever is active."))
    is_ignored = models.BooleanField(default=False, help_text=_("Its failure counts as success for what follows."))
    backfill = models.ForeignKey(Backfill, null=True, on_delete=models.SET_NULL, related_name="slots")
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)
    version = models.PositiveIntegerField(default=0)

    objects = SlotQuerySet.as_manager()

    class Meta:
        ordering = ["-logical_at"]
        constraints = [
            models.UniqueConstraint(fields=["schedule", "logical_at"], name="one_slot_per_time"),
            models.CheckConstraint(name="slot_status_is_known", condition=Q(status__in=SlotStatus.values)),
        ]
        indexes = [
            models.Index(
                fields=["schedule", "logical_at"],
                name="slot_unfinished",
                condition=Q(status__in=sorted(UNFINISHED)),
            ),
            models.Index(fields=["check_at"], name="slot_to_check", condition=Q(status="waiting")),
            models.Index(fields=["late_at"], name="slot_deadline", condition=Q(late_at__isnull=False)),
        ]

    def __str__(self) -> str:
        return f"{self.schedule.name} {self.logical_at:%Y-%m-%d %H:%M}"

    @property
    def is_finished(self) -> bool:
        return self.status in FINISHED

    @property
    def badge(self) -> str:
        return BADGES[SlotStatus(self.status)]

    @property
    def can_skip(self) -> bool:
        return self.status == SlotStatus.WAITING

    @property
    def is_late(self) -> bool:
        """Past its deadline: not ended by then, or ended after it."""
        late_at = self.schedule.late_at(self.logical_at)
        if late_at is None or self.status in NOT_JUDGED:
            return False
        return (self.finished_at or timezone.now()) > late_at


class Tally(models.Model):
    """What was counted since Cube was set up, for Prometheus: those that count are not the process that is asked."""

    name = models.CharField(max_length=32)
    label = models.CharField(max_length=64, blank=True)
    count = models.FloatField(default=0)

    class Meta:
        ordering = ["name", "label"]
        constraints = [models.UniqueConstraint(fields=["name", "label"], name="one_tally_per_label")]

    def __str__(self) -> str:
        return f"{self.name} {self.label}"


NOT_JUDGED = frozenset({SlotStatus.SKIPPED, SlotStatus.MISSED})


def slot_uid(schedule_uid: uuids.UUID, logical_at: datetime) -> uuids.UUID:
    """The same slot has the same uid, whoever makes it."""
    return uuids.uuid5(schedule_uid, logical_at.astimezone(UTC).isoformat())


def run_uid(slot: uuids.UUID, number: int) -> uuids.UUID:
    """Of the slot's nth run: made twice, it is one run."""
    return uuids.uuid5(slot, f"run {number}")
