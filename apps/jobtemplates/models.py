from typing import Any, Self

from django.db import models
from django.utils.translation import gettext_lazy as _

from apps.core.models import TimestampedModel


class JobTemplateQuerySet(models.QuerySet["JobTemplate"]):
    def enabled(self) -> Self:
        """What may be submitted: switched on, and published at least once."""
        published = TemplateVersion.objects.filter(template=models.OuterRef("pk"))
        return self.filter(models.Exists(published), is_enabled=True)


class JobTemplate(TimestampedModel):
    """Something a team can run by filling in a form. What it does is in its versions."""

    slug = models.SlugField(max_length=50, unique=True)
    name = models.CharField(max_length=100)
    summary = models.CharField(max_length=200, blank=True)
    description = models.TextField(blank=True, help_text=_("Shown above the form; plain text."))
    category = models.CharField(max_length=50, blank=True)
    icon = models.CharField(max_length=40, default="box")
    position = models.PositiveIntegerField(default=100)
    is_enabled = models.BooleanField(default=True)

    objects = JobTemplateQuerySet.as_manager()

    class Meta:
        ordering = ["position", "name"]

    def __str__(self) -> str:
        return self.slug

    @property
    def latest(self) -> "TemplateVersion | None":
        """The newest version: free when it was fetched with `selectors.with_latest`, one query otherwise."""
        fetched = getattr(self, "latest_versions", None)
        return (fetched[0] if fetched else None) if fetched is not None else self.versions.first()


class TemplateVersion(models.Model):
    """One immutable edition: the parameters it takes (JSON Schema) and the workload it makes of them (body).

    A job points at the version it was made from, so old jobs keep their meaning when the template moves on.
    """

    template = models.ForeignKey(JobTemplate, on_delete=models.PROTECT, related_name="versions")
    number = models.PositiveIntegerField()
    schema = models.JSONField()
    body = models.JSONField()
    notes = models.CharField(max_length=300, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-number"]
        constraints = [models.UniqueConstraint(fields=["template", "number"], name="one_template_version_per_number")]

    def __str__(self) -> str:
        return f"{self.template.slug} v{self.number}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        if not self._state.adding:
            raise TypeError("A template version never changes: publish a new one.")
        super().save(*args, **kwargs)
