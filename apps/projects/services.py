"""Writes on projects, their members and secrets: one verb, one transaction, one audit entry."""

from collections.abc import Mapping
from types import EllipsisType
from typing import Any

from django.contrib.auth.models import Permission
from django.db import IntegrityError, transaction
from django.utils.translation import gettext as _

from apps.accounts import audit
from apps.core.errors import InvalidInput, NotAllowed
from apps.core.events import publish
from apps.core.validation import clean

from . import secrets, selectors
from .choices import SecretKind
from .events import MembershipChanged, ProjectCreated, SecretsChanged
from .models import Membership, Project, ProjectSecret, ProjectUserObjectPermission
from .roles import ALL, PERMISSIONS, Role

RESERVED_SLUGS = frozenset({"new"})  # words of our own addresses under /projects/


# -- projects --------------------------------------------------------------------------------------------------------
@transaction.atomic
def create_project(*, slug: str, name: str, description: str = "", owner: Any, actor: Any = None) -> Project:
    """Make a project with its first owner. Raises InvalidInput."""
    project = Project(slug=slug, name=name.strip(), description=description)
    clean(project)
    if slug in RESERVED_SLUGS:
        raise InvalidInput({"slug": _("This word is reserved. Choose another.")})
    try:
        with transaction.atomic():
            project.save()
    except IntegrityError:  # Somebody took the slug between the check and the save.
        raise InvalidInput({"slug": _("A project with this slug exists already.")}) from None
    audit.record(actor=actor, action="project.create", target=project, project=slug, detail={"owner": str(owner)})
    set_role(project=project, user=owner, role=Role.OWNER, actor=actor)
    publish(ProjectCreated(project_id=project.pk))
    return project


@transaction.atomic
def update_project(
    *,
    project: Project,
    name: str | None = None,
    description: str | None = None,
    log_retention_days: int | EllipsisType | None = ...,
    actor: Any = None,
) -> Project:
    """Change what people read, and how long logs are kept (None: as the site does). What is not given stays.

    The slug is part of addresses and namespaces, so it never changes. Raises InvalidInput.
    """
    if name is not None:
        project.name = name.strip()
    if description is not None:
        project.description = description
    if log_retention_days is not ...:
        project.log_retention_days = log_retention_days
    clean(project)
    project.save(update_fields=["name", "description", "log_retention_days", "updated_at"])
    detail = {"name": project.name, "log_retention_days": project.log_retention_days}
    audit.record(actor=actor, action="project.update", target=project, project=project.slug, detail=detail)
    return project


# -- members ---------------------------------------------------------------------------------------------------------
@transaction.atomic
def set_role(*, project: Project, user: Any, role: Role, actor: Any = None) -> Membership:
    """Give `user` exactly the permissions `role` implies, whatever they held before.

    Raises InvalidInput for an unknown role or an inactive person, NotAllowed when it would leave no owner.
    """
    if role not in Role.values:
        raise InvalidInput({"role": _("There is no such role.")})
    if not user.is_active:
        raise InvalidInput({"username": _("This account is not active.")})
    _lock(project)
    before = Membership.objects.filter(project=project, user=user).first()
    if before and before.role == Role.OWNER and role != Role.OWNER:
        _require_another_owner(project, user)
    membership, _created = Membership.objects.update_or_create(project=project, user=user, defaults={"role": role})
    _make_grants_match(project, user, PERMISSIONS[Role(role)])
    audit.record(
        actor=actor,
        action="project.set_role",
        target=user,
        project=project.slug,
        detail={"role": str(role), "before": before.role if before else ""},
    )
    publish(MembershipChanged(project_id=project.pk, user_id=user.pk))
    return membership


@transaction.atomic
def remove_member(*, project: Project, user: Any, actor: Any = None) -> None:
    """Take every permission in the project away. Removing somebody who is no member changes nothing.

    Raises NotAllowed for the last owner.
    """
    _lock(project)
    membership = Membership.objects.filter(project=project, user=user).first()
    if membership is None:
        return
    if membership.role == Role.OWNER:
        _require_another_owner(project, user)
    membership.delete()
    _make_grants_match(project, user, frozenset())
    audit.record(
        actor=actor,
        action="project.remove_member",
        target=user,
        project=project.slug,
        detail={"before": membership.role},
    )
    publish(MembershipChanged(project_id=project.pk, user_id=user.pk))


def _lock(project: Project) -> None:
    """Changes of one project's members wait for each other, so that two owners cannot leave at once."""
    Project.objects.select_for_update().get(pk=project.pk)


def _require_another_owner(project: Project, user: Any) -> None:
    if not selectors.other_owners(project, user).exists():
        raise NotAllowed(
            _("%(user)s is the last owner of %(project)s. Make somebody else an owner first.")
            % {"user": user, "project": project.name}
        )


def _make_grants_match(project: Project, user: Any, wanted: frozenset[str]) -> None:
    grants = ProjectUserObjectPermission.objects.filter(content_object=project, user=user)
    held = set(grants.values_list("permission__codename", flat=True))
    if surplus := held - wanted:
        grants.filter(permission__codename__in=surplus).delete()
    if missing := (wanted & ALL) - held:
        found = Permission.objects.filter(content_type__app_label="projects", codename__in=missing)
        ProjectUserObjectPermission.objects.bulk_create(
            ProjectUserObjectPermission(content_object=project, user=user, permission=permission)
            for permission in found
        )


@transaction.atomic
def renew_grants() -> int:
    """Give every member what their role has come to imply since it was given. Returns how many grants were missing."""
    known = {p.codename: p for p in Permission.objects.filter(content_type__app_label="projects", codename__in=ALL)}
    held = set(ProjectUserObjectPermission.objects.values_list("content_object_id", "user_id", "permission_id"))
    missing = [
        ProjectUserObjectPermission(content_object_id=project_id, user_id=user_id, permission=known[codename])
        for project_id, user_id, role in Membership.objects.values_list("project_id", "user_id", "role")
        for codename in PERMISSIONS[Role(role)] & known.keys()
        if (project_id, user_id, known[codename].pk) not in held
    ]
    ProjectUserObjectPermission.objects.bulk_create(missing, batch_size=1000, ignore_conflicts=True)
    return len(missing)


# -- secrets ---------------------------------------------------------------------------------------------------------
@transaction.atomic
def set_secret(
    *,
    project: Project,
    name: str,
    data: Mapping[str, str],
    kind: SecretKind = SecretKind.OPAQUE,
    actor: Any = None,
) -> ProjectSecret:
    """Create a secret or replace all its keys. Values are encrypted at rest and cannot be read back.

    Raises InvalidInput with a path per key (`data.API_KEY`).
    """
    checked = secrets.check(kind, data)
    _lock(project)
    secret = selectors.secrets_of(project).filter(name=name).first()
    if secret is None:
        secret = ProjectSecret(project=project, name=name, kind=kind, version=0)
        _require_room(project)
    elif secret.kind != kind:
        raise InvalidInput({"kind": _("A secret cannot change its kind. Delete it first.")})
    secret.data, secret.keys = checked, sorted(checked)
    secret.version += 1
    clean(secret)
    secret.save()
    detail = {"kind": str(kind), "names": secret.keys, "version": secret.version}
    audit.record(actor=actor, action="secret.set", target=secret, project=project.slug, detail=detail)
    publish(SecretsChanged(project_id=project.pk))
    return secret


def _require_room(project: Project) -> None:
    if selectors.secrets_of(project).count() >= secrets.MAX_SECRETS:
        raise NotAllowed(_("A project holds at most %(n)d secrets. Delete one first.") % {"n": secrets.MAX_SECRETS})


@transaction.atomic
def delete_secret(*, secret: ProjectSecret, actor: Any = None) -> None:
    """Delete a secret. Jobs that run keep what they were started with; new ones cannot name it."""
    project = secret.project
    audit.record(actor=actor, action="secret.delete", target=secret, project=project.slug)
    secret.delete()
    publish(SecretsChanged(project_id=project.pk))
