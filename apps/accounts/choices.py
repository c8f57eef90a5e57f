from django.db import models
from django.utils.translation import gettext_lazy as _


class TokenScope(models.TextChoices):
    """What a token may do at most; the roles of its user still decide each request."""

    READ = "read", _("Read only")
    WRITE = "write", _("Read and write")


class AuditOutcome(models.TextChoices):
    DONE = "done", _("Done")
    REFUSED = "refused", _("Refused")
