from django.db import models
from django.utils.translation import gettext_lazy as _


class Condition(models.TextChoices):
    """What can be wrong with a pipeline or a schedule."""

    FAILED = "failed", _("Failed")
    LATE = "late", _("Late")
    PAUSED = "paused", _("Paused itself")


class ChannelKind(models.TextChoices):
    EMAIL = "email", _("E-mail")
    WEBHOOK = "webhook", _("Webhook")


class Change(models.TextChoices):
    """What a message tells."""

    OPENED = "opened", _("Opened")
    REMINDED = "reminded", _("Still open")
    RESOLVED = "resolved", _("Recovered")
    TEST = "test", _("Test")


class DeliveryStatus(models.TextChoices):
    PENDING = "pending", _("To be sent")
    SENT = "sent", _("Sent")
    FAILED = "failed", _("Given up")
    DROPPED = "dropped", _("Not sent")


# How each looks: the name of a badge of the design system.
BADGES = {
    DeliveryStatus.PENDING: "pending",
    DeliveryStatus.SENT: "succeeded",
    DeliveryStatus.FAILED: "failed",
    DeliveryStatus.DROPPED: "stopped",
}
