"""Rules, the incidents they open, channels, and the outbox. What is asked all the time is indexed over open rows."""

from datetime import datetime
from typing import Any

from django.conf import settings
from django.core.validators import RegexValidator
from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from apps.core.crypto import EncryptedTextField
from apps.core.models import PublicIdModel, TimestampedModel
from apps.pipelines.models import Pipeline, Run
from apps.projects.owned import ProjectOwned, ProjectOwnedQuerySet
from apps.schedules.models import Schedule, Slot

from .choices import BADGES, Change, ChannelKind, Condition, DeliveryStatus

NOTE_LENGTH = 300
name_validator = RegexValidator(
    r"^(?!\s*\Z)[^\x00-\x1f\x7f/]+\Z", _("A name has no line breaks and no '/', and is not blank.")
)


class ChannelQuerySet(ProjectOwnedQuerySet):
    def without_secrets(self) -> "ChannelQuerySet":
        """Only who sends decrypts: a lost key must not break a list."""
        return self.defer("url", "signing_secret")


class Channel(ProjectOwned, PublicIdModel, TimestampedModel):
    """Where messages go. The address of a webhook is a secret as a whole: many services put the key into it."""

    name = models.CharField(max_length=100, validators=[name_validator])
    kind = models.CharField(max_length=16, choices=ChannelKind.choices)
    addresses = models.JSONField(default=list, blank=True, help_text=_("E-mail addresses."))
    url = EncryptedTextField(blank=True)
    host = models.CharField(max_length=255, blank=True, help_text=_("Of the address: all of it that is shown."))
    signing_secret = EncryptedTextField(blank=True)
    is_signed = models.BooleanField(default=False)
    is_enabled = models.BooleanField(default=True)
    last_sent_at = models.DateTimeField(null=True)
    problem = models.CharField(max_length=300, blank=True, help_text=_("Of the last message; empty when it was sent."))
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+")

    objects = ChannelQuerySet.as_manager()

    class Meta:
        ordering = ["name"]
        constraints = [models.UniqueConstraint(fields=["project", "name"], name="one_channel_per_name")]

    def __str__(self) -> str:
        return f"{self.project}/{self.name}"

    @property
    def shown(self) -> str:
        """Where it leads, without what is secret."""
        return self.host if self.kind == ChannelKind.WEBHOOK else ", ".join(self.addresses)


CHANNELS = models.Prefetch("channels", Channel.objects.without_secrets())


class Snoozable(models.Model):
    """What somebody on call may silence until a moment."""

    snoozed_until = models.DateTimeField(null=True)
    snoozed_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+")
    snooze_note = models.CharField(max_length=NOTE_LENGTH, blank=True)

    class Meta:
        abstract = True

    @property
    def is_snoozed(self) -> bool:
        return self.snoozed_until is not None and self.snoozed_until > timezone.now()

    def silence(self, *, until: datetime | None, by: Any, note: str) -> None:
        self.snoozed_until, self.snoozed_by, self.snooze_note = until, by, note


class RuleQuerySet(ProjectOwnedQuerySet):
    def for_lists(self) -> "RuleQuerySet":
        related = self.select_related("project", "pipeline", "schedule", "snoozed_by")
        return related.defer("pipeline__description", "schedule__params").prefetch_related(CHANNELS)


class Rule(ProjectOwned, PublicIdModel, TimestampedModel, Snoozable):
    """Which troubles are told, of what, and where. Without a pipeline and a schedule: of the whole project."""

    name = models.CharField(max_length=100, validators=[name_validator])
    pipeline = models.ForeignKey(Pipeline, null=True, blank=True, on_delete=models.CASCADE, related_name="alert_rules")
    schedule = models.ForeignKey(Schedule, null=True, blank=True, on_delete=models.CASCADE, related_name="alert_rules")
    on_failure = models.BooleanField(default=True)
    on_lateness = models.BooleanField(default=True)
    on_pause = models.BooleanField(default=True)
    tells_recovery = models.BooleanField(default=True)
    channels = models.ManyToManyField(Channel, blank=True, related_name="rules")
    is_enabled = models.BooleanField(default=True)
    since_at = models.DateTimeField(default=timezone.now, help_text=_("Trouble from before it is not told."))
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+")

    objects = RuleQuerySet.as_manager()

    class Meta:
        ordering = ["name"]
        constraints = [
            models.UniqueConstraint(fields=["project", "name"], name="one_alert_rule_per_name"),
            models.CheckConstraint(
                name="alert_rule_is_about_one_thing", condition=Q(pipeline__isnull=True) | Q(schedule__isnull=True)
            ),
        ]
        indexes = [
            models.Index(fields=["snoozed_until"], name="rule_snoozed", condition=Q(snoozed_until__isnull=False))
        ]

    def __str__(self) -> str:
        return f"{self.project}/{self.name}"

    @property
    def conditions(self) -> frozenset[str]:
        asked = {
            Condition.FAILED: self.on_failure,
            Condition.LATE: self.on_lateness,
            Condition.PAUSED: self.on_pause,
        }
        return frozenset(condition.value for condition, wanted in asked.items() if wanted)

    @property
    def in_words(self) -> str:
        """What it tells of, for lists."""
        words = [str(Condition(value).label) for value in Condition.values if value in self.conditions]
        return ", ".join([*words, gettext("Recovered")] if self.tells_recovery else words)

    def covers(self, *, pipeline_id: int, schedule_id: int | None) -> bool:
        if self.schedule_id is not None:
            return self.schedule_id == schedule_id
        return self.pipeline_id is None or self.pipeline_id == pipeline_id


class IncidentQuerySet(ProjectOwnedQuerySet):
    def open(self) -> "IncidentQuerySet":
        return self.filter(closed_at__isnull=True)

    def for_lists(self) -> "IncidentQuerySet":
        related = ("project", "rule", "pipeline", "schedule", "run", "snoozed_by", "rule__snoozed_by", "closed_by")
        return self.select_related(*related).defer("pipeline__description", "schedule__params", "run__params")

    def with_channels(self) -> "IncidentQuerySet":
        return self.for_lists().prefetch_related(models.Prefetch("rule__channels", Channel.objects.without_secrets()))


class Incident(ProjectOwned, PublicIdModel, TimestampedModel, Snoozable):
    """One trouble of one pipeline or schedule, from when it began until it was over. Repeats are counted in it."""

    rule = models.ForeignKey(Rule, on_delete=models.CASCADE, related_name="incidents")
    condition = models.CharField(max_length=16, choices=Condition.choices)
    pipeline = models.ForeignKey(Pipeline, on_delete=models.CASCADE, related_name="+")
    schedule = models.ForeignKey(Schedule, null=True, on_delete=models.CASCADE, related_name="+")
    subject = models.CharField(max_length=40, help_text=_("What it is about, as one word: `schedule:7`."))
    run = models.ForeignKey(Run, null=True, on_delete=models.SET_NULL, related_name="+")
    slot = models.ForeignKey(Slot, null=True, on_delete=models.SET_NULL, related_name="+")
    first_run_id = models.BigIntegerField(null=True)
    message = models.CharField(max_length=500, blank=True)
    count = models.PositiveIntegerField(default=1)
    opened_at = models.DateTimeField(help_text=_("When the trouble began."))
    last_at = models.DateTimeField(help_text=_("When it was last seen to happen."))
    closed_at = models.DateTimeField(null=True)
    closed_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+")
    close_note = models.CharField(max_length=NOTE_LENGTH, blank=True)
    told_at = models.DateTimeField(null=True)
    version = models.PositiveIntegerField(default=0, help_text=_("How many changes of it were told."))

    objects = IncidentQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["rule", "condition", "subject"],
                condition=Q(closed_at__isnull=True),
                name="one_open_incident_per_subject",
            )
        ]
        indexes = [
            models.Index(fields=["project", "-id"], name="incident_list"),
            models.Index(fields=["rule", "condition", "subject", "-last_at"], name="incident_last"),
            models.Index(fields=["project", "-id"], name="incident_open", condition=Q(closed_at__isnull=True)),
            models.Index(fields=["closed_at"], name="incident_closed", condition=Q(closed_at__isnull=False)),
            models.Index(fields=["snoozed_until"], name="incident_snoozed", condition=Q(snoozed_until__isnull=False)),
        ]

    def __str__(self) -> str:
        return f"{self.get_condition_display()}: {self.about}"

    @property
    def about(self) -> str:
        return self.schedule.name if self.schedule is not None else self.pipeline.name

    @property
    def is_open(self) -> bool:
        return self.closed_at is None

    @property
    def is_quiet(self) -> bool:
        return self.is_snoozed or self.rule.is_snoozed

    @property
    def quiet_until(self) -> datetime | None:
        """When both its own snooze and its rule's have ended."""
        return max(filter(None, (self.snoozed_until, self.rule.snoozed_until)), default=None)


class Delivery(ProjectOwned, PublicIdModel, TimestampedModel):
    """One message to one channel: the outbox. Its uid is the idempotency key, whatever is sent twice."""

    channel = models.ForeignKey(Channel, on_delete=models.CASCADE, related_name="deliveries")
    incident = models.ForeignKey(Incident, null=True, on_delete=models.CASCADE, related_name="deliveries")
    number = models.PositiveIntegerField(default=0, help_text=_("The incident's version it tells of."))
    change = models.CharField(max_length=16, choices=Change.choices)
    subject = models.CharField(max_length=300)
    text = models.TextField()
    payload = models.JSONField()
    status = models.CharField(max_length=16, choices=DeliveryStatus.choices, default=DeliveryStatus.PENDING)
    attempts = models.PositiveSmallIntegerField(default=0)
    next_at = models.DateTimeField(default=timezone.now)
    problem = models.CharField(max_length=300, blank=True)
    sent_at = models.DateTimeField(null=True)

    objects = ProjectOwnedQuerySet.as_manager()

    class Meta:
        ordering = ["id"]
        verbose_name_plural = "deliveries"
        constraints = [
            models.UniqueConstraint(
                fields=["incident", "number", "channel"],
                condition=Q(incident__isnull=False),
                name="one_delivery_per_change_and_channel",
            )
        ]
        indexes = [
            models.Index(fields=["next_at"], name="delivery_pending", condition=Q(status="pending")),
            models.Index(fields=["created_at"], name="delivery_test", condition=Q(incident__isnull=True)),
        ]

    def __str__(self) -> str:
        return f"{self.subject} → {self.channel.name}"

    @property
    def badge(self) -> str:
        return BADGES[DeliveryStatus(self.status)]
