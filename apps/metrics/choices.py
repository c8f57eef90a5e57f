from django.db import models
from django.utils.translation import gettext_lazy as _


class SourceState(models.TextChoices):
    """Whether a cluster tells what its pods use."""

    OK = "ok", _("Measured")
    ABSENT = "absent", _("The cluster has no metrics API")
    REFUSED = "refused", _("Cube may not read its metrics API")
    AWAY = "away", _("Its metrics API does not answer")


class Unit(models.TextChoices):
    """What a chart counts in."""

    CORES = "cores", _("CPU")  # in thousandths
    BYTES = "bytes", _("Memory")
