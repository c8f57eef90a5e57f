"""What every page of the portal needs around its content. Lazy: a response that draws no page pays nothing."""

from typing import Any

from django.conf import settings
from django.http import HttpRequest
from django.urls import NoReverseMatch, reverse
from django.utils.functional import SimpleLazyObject
from django.utils.translation import gettext_lazy as _

from apps.projects import access
from apps.projects.models import Project

MOST_PROJECTS = 200  # in the switcher; whoever sees more finds the rest on the home page

# label, URL name, icon, the permission that opens it
ENTRIES = (
    (_("Submit a job"), "jobs:submit", "plus", "submit_job"),
    (_("Jobs"), "jobs:list", "list-details", "view_project"),
    (_("Pipelines"), "pipelines:list", "sitemap", "view_project"),
    (_("Schedules"), "schedules:list", "calendar-time", "view_project"),
    (_("Alerts"), "alerts:list", "bell", "view_project"),
    (_("Log search"), "logs:search", "search", "view_project"),
    (_("Templates"), "jobtemplates:list", "template", "view_project"),
    (_("Workspace"), "datasets:workspace", "folder", "view_project"),
    (_("Secrets"), "projects:secrets", "key", "manage_secrets"),
    (_("Members"), "projects:members", "users", "view_project"),
    (_("Settings"), "projects:settings", "settings", "change_project"),
)


def shell(request: HttpRequest) -> dict[str, Any]:
    """Two queries at most: the projects of the switcher, and the permissions in the project this page is about."""
    user = getattr(request, "user", None)
    if user is None or not user.is_authenticated or request.path.startswith(("/api/", "/admin/")):
        return {"cube_version": settings.CUBE_VERSION}
    slug = request.resolver_match.kwargs.get("project") if request.resolver_match else None
    projects = SimpleLazyObject(lambda: _projects(user))
    return {
        "cube_version": settings.CUBE_VERSION,
        "nav_projects": projects,
        "nav_items": SimpleLazyObject(lambda: _entries(request, slug, projects)),
        "project": SimpleLazyObject(lambda: _find(projects, slug)) if slug else None,
    }


def _projects(user: Any) -> list[dict[str, Any]]:
    rows = access.projects_for(user).only("id", "slug", "name")[:MOST_PROJECTS]
    return [
        {"slug": row.slug, "name": row.name, "url": reverse("jobs:list", args=[row.slug]), "row": row} for row in rows
    ]


def _find(projects: Any, slug: str) -> Project | None:
    return next((entry["row"] for entry in projects if entry["slug"] == slug), None)


def _entries(request: HttpRequest, slug: str | None, projects: Any) -> list[dict[str, Any]]:
    """Only what opens for this person: nothing is greyed out."""
    project = _find(projects, slug) if slug else None
    if project is None:
        return []
    held = access.permissions_in(request.user, project)
    shown = []
    for label, name, icon, perm in ENTRIES:
        if perm not in held:
            continue
        try:
            url = reverse(name, args=[project.slug])
        except NoReverseMatch:  # The room is not installed.
            continue
        shown.append({"label": label, "url": url, "icon": icon})
    around = [str(entry["url"]) for entry in shown if request.path.startswith(str(entry["url"]))]
    here = max(around, key=len, default="")
    return [{**entry, "active": entry["url"] == here} for entry in shown]
