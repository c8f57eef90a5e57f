"""Platform roles: what staff may do across all projects. Project roles live in `projects.roles`."""

from django.db import models
from django.utils.translation import gettext_lazy as _


class PlatformRole(models.TextChoices):
    NONE = "", _("None")
    PLATFORM_ADMIN = "platform_admin", _("Platform admin")
    QUOTA_MANAGER = "quota_manager", _("Quota manager")
    AUDITOR = "auditor", _("Auditor")


# Rooms whose rows a quota manager may change; everything else they read.
MANAGED_BY_QUOTA_MANAGER = frozenset({"clusters", "quotas"})
# What reading across all projects implies on a project.
READS = frozenset({"view"})


def grants(role: str, permission: str) -> bool:
    """Whether `role` implies a model permission such as `"jobs.view_job"`. Unknown roles grant nothing."""
    app_label, _, codename = permission.partition(".")
    reading = codename.partition("_")[0] in READS
    match role:
        case PlatformRole.PLATFORM_ADMIN:
            return True
        case PlatformRole.QUOTA_MANAGER:
            return reading or app_label in MANAGED_BY_QUOTA_MANAGER
        case PlatformRole.AUDITOR:
            return reading
    return False
