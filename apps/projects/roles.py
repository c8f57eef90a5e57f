"""The vocabulary of access: people are given roles, guardian stores the permissions they imply."""

from django.db import models
from django.utils.translation import gettext_lazy as _


class Role(models.TextChoices):
    VIEWER = "viewer", _("Viewer")
    DEVELOPER = "developer", _("Developer")
    OPERATOR = "operator", _("Operator")
    OWNER = "owner", _("Owner")


DESCRIPTIONS = {
    Role.VIEWER: _("Reads jobs, logs and files."),
    Role.DEVELOPER: _("Also submits, stops and reruns jobs."),
    Role.OPERATOR: _("Also deletes jobs and manages the project's secrets."),
    Role.OWNER: _("Also manages members and the project itself."),
}

_VIEWER = frozenset({"view_project"})
_DEVELOPER = _VIEWER | {"submit_job", "stop_job"}
_OPERATOR = _DEVELOPER | {"delete_job", "manage_secrets"}
_OWNER = _OPERATOR | {"manage_members", "change_project"}

PERMISSIONS: dict[Role, frozenset[str]] = {
    Role.VIEWER: _VIEWER,
    Role.DEVELOPER: _DEVELOPER,
    Role.OPERATOR: _OPERATOR,
    Role.OWNER: _OWNER,
}
ALL = _OWNER
