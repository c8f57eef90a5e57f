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
    Role.DEVELOPER: _(
        "Also submits, stops, reruns and debugs jobs; edits and runs pipelines, schedules and alert rules."
    ),
    Role.OPERATOR: _(
        "Also deletes jobs, overrules results of pipelines and schedules, and manages secrets and alert channels."
    ),
    Role.OWNER: _("Also manages members and the project itself."),
}

_VIEWER = frozenset({"view_project"})
_DEVELOPER = _VIEWER | {
    *("submit_job", "stop_job", "debug_job", "edit_pipeline", "run_pipeline", "edit_schedule", "run_slot"),
    *("edit_alert_rule", "snooze_alert"),
}
_OPERATOR = _DEVELOPER | {
    *("delete_job", "manage_secrets", "overrule_task", "overrule_slot", "delete_schedule", "manage_alert_channels"),
}
_OWNER = _OPERATOR | {"manage_members", "change_project"}

PERMISSIONS: dict[Role, frozenset[str]] = {
    Role.VIEWER: _VIEWER,
    Role.DEVELOPER: _DEVELOPER,
    Role.OPERATOR: _OPERATOR,
    Role.OWNER: _OWNER,
}
ALL = _OWNER
