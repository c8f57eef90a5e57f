from django.db import models
from django.utils.translation import gettext_lazy as _


class Health(models.TextChoices):
    UNKNOWN = "unknown", _("Not probed yet")
    HEALTHY = "healthy", _("Healthy")
    UNREACHABLE = "unreachable", _("Unreachable")
    REFUSED = "refused", _("Credentials refused")
