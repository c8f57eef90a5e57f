"""Writes on projects, their members and secrets: one verb, one transaction, one audit entry."""

from typing import Any

from django.db import transaction
from guardian.shortcuts import assign_perm, remove_perm

from apps.accounts import audit
from apps.core.events import publish

from .events import MembershipChanged
from .models import Membership, Project
from .roles import ALL, PERMISSIONS, Role


@transaction.atomic
def set_role(*, project: Project, user: Any, role: Role, actor: Any = None) -> Membership:
    """Give `user` exactly the permissions `role` implies, whatever they held before."""
    membership, _ = Membership.objects.update_or_create(project=project, user=user, defaults={"role": role})
    _make_grants_match(project, user, PERMISSIONS[role])
    audit.record(actor=actor, action="project.set_role", target=user, project=project.slug, detail={"role": str(role)})
    publish(MembershipChanged(project_id=project.pk, user_id=user.pk))
    return membership


def _make_grants_match(project: Project, user: Any, wanted: frozenset[str]) -> None:
    for codename in ALL:
        change = assign_perm if codename in wanted else remove_perm
        change(codename, user, project)
