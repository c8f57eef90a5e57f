"""Reads on projects that span tables."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from django.db.models import OuterRef, QuerySet, Subquery

from . import access
from .choices import SecretKind
from .models import (
    Membership,
    Project,
    ProjectGroupObjectPermission,
    ProjectSecret,
    ProjectUserObjectPermission,
)
from .roles import ALL, DESCRIPTIONS, PERMISSIONS, Role

LISTED = 500  # projects in a switcher


@dataclass(frozen=True)
class ProjectOfUser:
    """A project as one person sees it. `role` is empty when they see it through a platform role or a group."""

    project: Project
    role: str
    permissions: frozenset[str]

    @property
    def slug(self) -> str:
        return self.project.slug

    @property
    def name(self) -> str:
        return self.project.name

    @property
    def role_label(self) -> str:
        return str(Role(self.role).label) if self.role else ""


def with_role_of(user: Any, projects: QuerySet[Project]) -> QuerySet[Project]:
    """Annotate `own_role`, the role `user` holds by membership, or None."""
    mine = Membership.objects.filter(project=OuterRef("pk"), user=user)
    return projects.annotate(own_role=Subquery(mine.values("role")[:1]))


def projects_of(user: Any, limit: int = LISTED) -> list[ProjectOfUser]:
    """What a switcher shows: visible projects by slug, with role and permissions; a constant number of queries."""
    projects = list(with_role_of(user, access.projects_for(user))[:limit])
    held = permissions_by_project(user, projects)
    return [ProjectOfUser(project, getattr(project, "own_role", "") or "", held[project.pk]) for project in projects]


def permissions_by_project(user: Any, projects: Iterable[Project]) -> dict[int, frozenset[str]]:
    """`access.permissions_in` for many projects at once, in two queries."""
    general = frozenset(perm for perm in ALL if access.everywhere(user, perm))
    held: dict[int, set[str]] = defaultdict(set)
    keys = [project.pk for project in projects]
    if general != ALL and keys:
        own = ProjectUserObjectPermission.objects.filter(user=user)
        groups = ProjectGroupObjectPermission.objects.filter(group__user=user)
        for grants in (own, groups):
            found = grants.filter(content_object_id__in=keys)
            for key, codename in found.values_list("content_object_id", "permission__codename"):
                held[key].add(codename)
    return {key: general | (frozenset(held[key]) & ALL) for key in keys}


def members_of(project: Project) -> QuerySet[Membership]:
    """Memberships with their people, by user name."""
    return Membership.objects.filter(project=project).select_related("user", "project")


def other_owners(project: Project, user: Any) -> QuerySet[Membership]:
    """Owners besides `user` who can still sign in."""
    owners = Membership.objects.filter(project=project, role=Role.OWNER, user__is_active=True)
    return owners.exclude(user=user)


def secrets_of(project: Project) -> QuerySet[ProjectSecret]:
    """Names and keys. The values stay where they are: they are not even read, so a lost key hides no list."""
    return ProjectSecret.objects.filter(project=project).defer("data").select_related("project")


def secret_references(project: Project) -> list[str]:
    """`name/KEY` of every environment secret, to choose from. Registry credentials are not for programs."""
    secrets = secrets_of(project).filter(kind=SecretKind.OPAQUE).order_by("name")
    return [f"{secret.name}/{key}" for secret in secrets for key in secret.keys]


def explained_roles() -> list[dict[str, Any]]:
    """Each role with its words, least first, for pages that let people choose."""
    return [{"value": role.value, "label": role.label, "description": DESCRIPTIONS[role]} for role in Role]


def least_role_with(perm: str) -> Role | None:
    """The first role that implies `perm`; None when no role does."""
    return next((role for role in Role if perm in PERMISSIONS[role]), None)
