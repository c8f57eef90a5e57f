"""Who may do what in a project. Every interface (API, portal, admin, websocket) asks here and nowhere else."""

from typing import Any

from django.contrib.auth.models import Permission
from django.db.models import Q, QuerySet

from apps.accounts.roles import grants

from .models import Project, ProjectGroupObjectPermission, ProjectUserObjectPermission
from .roles import ALL


def everywhere(user: Any, perm: str) -> bool:
    """Whether a platform role gives `perm` in all projects. Computed from the role: it asks no database."""
    return bool(user.is_superuser) or grants(getattr(user, "platform_role", ""), f"projects.{perm}")


def projects_for(user: Any, perm: str = "view_project") -> QuerySet[Project]:
    """The projects in which `user` holds `perm`: by a platform role over all of them, else by guardian's grants.

    One query with subqueries, however many projects and groups. Fails closed for anonymous and inactive users.
    """
    if not user.is_authenticated or not user.is_active:
        return Project.objects.none()
    if everywhere(user, perm):
        return Project.objects.all()
    named = {"permission__codename": perm, "permission__content_type__app_label": "projects"}
    own = ProjectUserObjectPermission.objects.filter(user=user, **named)
    groups = ProjectGroupObjectPermission.objects.filter(group__user=user, **named)
    return Project.objects.filter(
        Q(pk__in=own.values("content_object_id")) | Q(pk__in=groups.values("content_object_id"))
    )


def can(user: Any, perm: str, project: Project) -> bool:
    """Whether `user` may do `perm` in `project`. Asked anew each time: roles change while sockets are open."""
    return projects_for(user, perm).filter(pk=project.pk).exists()


def permissions_in(user: Any, project: Project) -> frozenset[str]:
    """Every project permission `user` holds in `project`, in one query, for pages that show or hide verbs."""
    if not user.is_authenticated or not user.is_active:
        return frozenset()
    general = frozenset(perm for perm in ALL if everywhere(user, perm))
    if general == ALL:
        return general
    mine = Q(projectuserobjectpermission__user=user, projectuserobjectpermission__content_object=project)
    ours = Q(projectgroupobjectpermission__group__user=user, projectgroupobjectpermission__content_object=project)
    held = Permission.objects.filter(mine | ours, content_type__app_label="projects").values_list("codename", flat=True)
    return general | (frozenset(held) & ALL)
