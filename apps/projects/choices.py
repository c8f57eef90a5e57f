from django.db import models
from django.utils.translation import gettext_lazy as _


class SecretKind(models.TextChoices):
    OPAQUE = "opaque", _("Environment secret")
    REGISTRY = "registry", _("Image registry credentials")
