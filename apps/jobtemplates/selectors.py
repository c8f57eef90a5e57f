from typing import Any

from django.db.models import F, Max, OuterRef, Prefetch, QuerySet, Subquery
from django.utils.translation import gettext as _

from apps.core.errors import InvalidInput

from .models import JobTemplate, TemplateVersion

# What people read about a template; it may change without a new version.
WORDS = ("name", "summary", "description", "category", "icon", "position")


def with_latest(templates: QuerySet[JobTemplate]) -> QuerySet[JobTemplate]:
    """The same templates with `.latest` at hand: one more query, however many there are."""
    newest = TemplateVersion.objects.filter(template=OuterRef("template")).order_by("-number").values("pk")[:1]
    latest = TemplateVersion.objects.alias(newest=Subquery(newest)).filter(pk=F("newest")).select_related("template")
    return templates.prefetch_related(Prefetch("versions", queryset=latest, to_attr="latest_versions"))


def enabled_templates() -> QuerySet[JobTemplate]:
    """What may be submitted now, in the order of the gallery, each with its `.latest` version."""
    return with_latest(JobTemplate.objects.enabled())


def latest_version(slug: str) -> TemplateVersion:
    """The newest version of an enabled template. Raises `InvalidInput` at `template`; disabled is as good as none."""
    versions = TemplateVersion.objects.select_related("template").filter(template__is_enabled=True, template__slug=slug)
    version = versions.order_by("-number").first()
    if version is None:
        raise InvalidInput({"template": _("There is no template '%(slug)s'.") % {"slug": str(slug)[:80]}})
    return version


def words_of(slug: str) -> dict[str, Any]:
    """The words of a template as `publish_version` takes them; empty when there is none."""
    return JobTemplate.objects.filter(slug=slug).values(*WORDS).first() or {}


def newest_number(slug: str) -> int:
    """The number of the newest version, 0 when there is none."""
    return TemplateVersion.objects.filter(template__slug=slug).aggregate(Max("number"))["number__max"] or 0


def find_version(slug: str, number: int | None = None) -> TemplateVersion | None:
    """The named version of an enabled template, the newest without a number, or None."""
    versions = TemplateVersion.objects.select_related("template").filter(template__is_enabled=True, template__slug=slug)
    if number is not None:
        versions = versions.filter(number=number)
    return versions.order_by("-number").first()
