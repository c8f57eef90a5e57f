from django.conf import settings
from django.core.validators import MaxValueValidator, MinValueValidator, RegexValidator
from django.db import models
from django.utils.translation import gettext_lazy as _
from guardian.models import GroupObjectPermissionBase, UserObjectPermissionBase

from apps.core.crypto import EncryptedJSONField
from apps.core.models import TimestampedModel

from .choices import SecretKind
from .roles import Role

# RFC 1123 label, kept short so that prefix + slug fits in a namespace name (63 characters).
slug_validator = RegexValidator(
    r"^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?\Z",
    _("Use lower-case letters, digits and '-', at most 40 characters."),
)
secret_name_validator = RegexValidator(
    r"^[a-z0-9]([a-z0-9-]{0,48}[a-z0-9])?\Z",
    _("Use lower-case letters, digits and '-', at most 50 characters."),
)


class Project(TimestampedModel):
    """A project group: the tenant. Everything a team makes belongs to exactly one."""

    slug = models.CharField(max_length=40, unique=True, validators=[slug_validator])
    name = models.CharField(max_length=120)
    description = models.TextField(blank=True, max_length=2000)
    log_retention_days = models.PositiveIntegerField(
        _("days logs are kept"),
        null=True,
        blank=True,
        validators=[MinValueValidator(1), MaxValueValidator(36500)],
        help_text=_("How long the logs of finished jobs are kept. Empty: as the site does."),
    )

    class Meta:
        ordering = ["slug"]
        permissions = [
            ("submit_job", "Can submit jobs"),
            ("stop_job", "Can stop jobs"),
            ("debug_job", "Can open terminals in debug sessions of jobs"),
            ("delete_job", "Can delete jobs"),
            ("edit_pipeline", "Can edit pipelines"),
            ("run_pipeline", "Can run pipelines"),
            ("overrule_task", "Can overrule results of pipelines"),
            ("edit_schedule", "Can edit schedules"),
            ("run_slot", "Can run and skip times of schedules"),
            ("overrule_slot", "Can overrule results of schedules"),
            ("delete_schedule", "Can delete schedules"),
            ("edit_alert_rule", "Can edit alert rules"),
            ("snooze_alert", "Can snooze and close alerts"),
            ("manage_alert_channels", "Can manage alert channels"),
            ("manage_secrets", "Can manage secrets"),
            ("manage_members", "Can manage members"),
        ]

    def __str__(self) -> str:
        return self.slug


class ProjectUserObjectPermission(UserObjectPermissionBase):
    """guardian's grants with a real foreign key: they go with the project and can be joined."""

    content_object = models.ForeignKey(Project, on_delete=models.CASCADE)


class ProjectGroupObjectPermission(GroupObjectPermissionBase):
    content_object = models.ForeignKey(Project, on_delete=models.CASCADE)


class Membership(TimestampedModel):
    """The role a person holds in a project. `services.set_role` keeps guardian's grants in step."""

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="memberships")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="memberships")
    role = models.CharField(max_length=16, choices=Role.choices)

    class Meta:
        ordering = ["user__username"]
        constraints = [models.UniqueConstraint(fields=["project", "user"], name="one_membership_per_user")]

    def __str__(self) -> str:
        return f"{self.user} is {self.role} of {self.project}"


class ProjectSecret(TimestampedModel):
    """Named values a job may use without showing them: environment secrets, or credentials of an image registry."""

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="secrets")
    name = models.CharField(max_length=50, validators=[secret_name_validator])
    kind = models.CharField(max_length=16, choices=SecretKind.choices, default=SecretKind.OPAQUE)
    data = EncryptedJSONField(help_text=_("Key -> text. Never shown again."))
    keys = models.JSONField(default=list, help_text=_("The names of the keys, to choose from."))
    version = models.PositiveIntegerField(default=1)

    class Meta:
        ordering = ["name"]
        constraints = [models.UniqueConstraint(fields=["project", "name"], name="one_secret_per_name")]

    def __str__(self) -> str:
        return f"{self.project}/{self.name}"
