"""Writes on templates. A version is checked before it exists and never changes afterwards."""

from pathlib import Path
from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils.translation import gettext as _

from apps.accounts import audit
from apps.core.errors import InvalidInput
from apps.core.events import publish

from .documents import read_document
from .events import TemplateAvailabilityChanged, TemplateVersionPublished
from .models import JobTemplate, TemplateVersion
from .params import ordered
from .rendering import check_body
from .schema import check_schema
from .selectors import WORDS

SHIPPED = Path(__file__).parent / "shipped"


def publish_version(
    *,
    slug: str,
    name: str,
    schema: Any,
    body: Any,
    summary: str = "",
    description: str = "",
    category: str = "",
    icon: str = "box",
    position: int = 100,
    notes: str = "",
    actor: Any,
) -> TemplateVersion:
    """Make `schema` and `body` the newest version of the template `slug`, which appears if it is new.

    The words about the template follow at once. A schema and body that equal the newest version's publish nothing and
    give that version back. Raises `InvalidInput` with a path for every bad place; then nothing has changed.
    `actor` is None when the installation itself publishes.
    """
    check_schema(schema)
    check_body(body, schema)
    words = {
        "name": name,
        "summary": summary,
        "description": description,
        "category": category,
        "icon": icon,
        "position": position,
    }
    return _publish(slug=slug, words=words, schema=ordered(schema), body=body, notes=notes, actor=actor)


@transaction.atomic
def _publish(
    *, slug: str, words: dict[str, Any], schema: dict[str, Any], body: Any, notes: str, actor: Any
) -> TemplateVersion:
    template = _described(slug, words, actor)
    newest = template.versions.first()
    if newest and (newest.schema, newest.body) == (schema, body):
        return newest
    number = newest.number + 1 if newest else 1
    version = TemplateVersion(template=template, number=number, schema=schema, body=body, notes=notes)
    _validate(version)
    version.save()
    audit.record(actor=actor, action="template.publish", target=version, detail={"notes": notes})
    publish(TemplateVersionPublished(template_id=template.pk, version_id=version.pk, number=number))
    return version


def _described(slug: str, words: dict[str, Any], actor: Any) -> JobTemplate:
    """The template, locked against another publisher, with these words."""
    template = JobTemplate.objects.select_for_update().filter(slug=slug).first() or JobTemplate(slug=slug)
    changed = sorted(key for key in WORDS if getattr(template, key) != words[key])
    for key in changed:
        setattr(template, key, words[key])
    if template.pk is None or changed:
        verb = "template.create" if template.pk is None else "template.describe"
        _validate(template)
        template.save()
        audit.record(actor=actor, action=verb, target=slug, detail={"changed": changed})
    return template


def _validate(row: JobTemplate | TemplateVersion) -> None:
    try:
        # An empty schema or body has been judged already; the model would call it blank.
        row.full_clean(exclude={"schema", "body"})
    except ValidationError as refusal:
        raise InvalidInput(refusal.message_dict) from None


@transaction.atomic
def describe_template(*, template: JobTemplate, actor: Any, **words: Any) -> JobTemplate:
    """Change what people read about a template (`selectors.WORDS`); versions stay. Raises `InvalidInput`."""
    return _described(template.slug, words, actor)


@transaction.atomic
def set_enabled(*, template: JobTemplate, enabled: bool, actor: Any) -> JobTemplate:
    """Offer the template, or stop offering it. Jobs made from it are not touched."""
    row = JobTemplate.objects.select_for_update().get(pk=template.pk)
    if row.is_enabled == enabled:
        return row
    row.is_enabled = enabled
    row.save(update_fields=["is_enabled", "updated_at"])
    verb = "template.enable" if enabled else "template.disable"
    audit.record(actor=actor, action=verb, target=row)
    publish(TemplateAvailabilityChanged(template_id=row.pk, is_enabled=enabled))
    return row


def install_shipped(*, folder: Path = SHIPPED, actor: Any = None) -> list[TemplateVersion]:
    """Publish the templates that come with Cube; the versions that are new. Safe to call at every start.

    Whether a template is enabled is left as the operator has it. Raises `InvalidInput` naming the file.
    """
    before = set(TemplateVersion.objects.values_list("pk", flat=True))
    installed = [_install(file, actor) for file in sorted(folder.glob("*.yaml"))]
    return [version for version in installed if version.pk not in before]


def _install(file: Path, actor: Any) -> TemplateVersion:
    try:
        content = read_document(file.read_text(), at="file")
        if not isinstance(content, dict):
            raise InvalidInput({"file": _("Must be an object.")})
        return publish_version(actor=actor, **content)
    except InvalidInput as refusal:
        raise InvalidInput({f"{file.name}: {path}": errors for path, errors in refusal.fields.items()}) from None
