from django.db import models
from django.utils.translation import gettext_lazy as _


class ListingStatus(models.TextChoices):
    NEVER = "never", _("Never listed")
    LISTING = "listing", _("Listing")
    READY = "ready", _("Ready")
    FAILED = "failed", _("Failed")
