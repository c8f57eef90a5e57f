"""Every route of the running project, and how a test fills in its addresses.

A new room's routes are walked without being named here. Only two things may need a line: a new URL parameter gets a
sample in `sample_values`, and a route that takes parameters but belongs to no tenant is listed in `OPEN`.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from django.urls import URLPattern, URLResolver, get_resolver
from django.urls.resolvers import RegexPattern

METHODS = ("get", "post", "put", "patch", "delete")

# Routes with parameters that any signed-in person may read: they name nothing of a tenant.
OPEN = frozenset(
    {
        "api/v1/templates/<slug>/",
        "api/v1/templates/<template>/versions/",
        "api/v1/templates/<template>/versions/<number>/",
        "api/v1/clusters/<slug>/",
    }
)
# Anonymous people may reach these.
PUBLIC = frozenset({"sign-in/", "sign-out/", "healthz", "readyz", "metrics"})


@dataclass(frozen=True)
class Route:
    path: str  # "api/v1/projects/<project>/jobs/"
    view: Callable[..., Any]
    parameters: tuple[str, ...]

    @property
    def is_api(self) -> bool:
        return self.path.startswith("api/")

    @property
    def is_admin(self) -> bool:
        return self.path.startswith("admin/")

    @property
    def page(self) -> type | None:
        """The class of a portal view."""
        return getattr(self.view, "view_class", None)

    @property
    def viewset(self) -> type | None:
        """The class of a DRF view or viewset."""
        return getattr(self.view, "cls", None)

    @property
    def actions(self) -> dict[str, str]:
        return getattr(self.view, "actions", None) or {}

    @property
    def methods(self) -> tuple[str, ...]:
        """What is worth trying: what the view answers, or everything when it does not say."""
        if self.actions:
            return tuple(m for m in METHODS if m in self.actions)
        owner = self.viewset or self.page
        if owner is None:
            return ("get", "post")
        return tuple(m for m in METHODS if hasattr(owner, m) and m in owner.http_method_names)

    def url(self, values: dict[str, str]) -> str:
        path = self.path
        for name in self.parameters:
            assert name in values, f"add a sample for <{name}> of {self.path} to tests/architecture/routes.py"
            path = path.replace(f"<{name}>", values[name])
        return "/" + path

    def __str__(self) -> str:
        return self.path


def readable(pattern: Any) -> str:
    """A pattern of either kind with its parameters as `<name>`."""
    text = str(pattern)
    if isinstance(pattern, RegexPattern):
        text = re.sub(r"\(\?P<(\w+)>(?:[^()]|\([^()]*\))*\)", r"<\1>", text)
        return text.lstrip("^").replace("\\Z", "").rstrip("$").replace("\\", "").replace("/?", "")
    return re.sub(r"<(?:\w+:)?(\w+)>", r"<\1>", text)


def walk(patterns: list[Any], prefix: str = "") -> Iterator[Route]:
    for entry in patterns:
        path = prefix + readable(entry.pattern)
        match entry:
            case URLResolver():
                yield from walk(entry.url_patterns, path)
            case URLPattern():
                yield Route(path, entry.callback, tuple(re.findall(r"<(\w+)>", path)))


ROUTES = sorted({route.path: route for route in walk(get_resolver().url_patterns)}.values(), key=str)
OURS = [route for route in ROUTES if not route.is_admin]
OF_PROJECTS = [route for route in OURS if "project" in route.parameters]


def sample_values(world: Any, route: Route) -> dict[str, str]:
    """Values that name real things, which the outsider may not see; so a 404 is a refusal, not a gap."""
    named = {
        "tokens/": world.token,
        "pipelines/": world.pipeline,
        "runs/": world.run,
        "incidents/<uid>": world.incident,
        "rules/<uid>": world.alert_rule,
        "channels/<uid>": world.channel,
        "slots/<uid>": world.slot,
        "backfills/<uid>": world.backfill,
        "schedules/<uid>": world.schedule,
    }
    uid = next((row.uid for part, row in named.items() if part in route.path), world.job.uid)
    return {
        "project": world.project.slug,
        "uid": str(uid),
        "username": world.owner.username,
        "name": world.secret.name,
        "slug": "echo",
        "template": "echo",
        "number": "1",
        "attempt": "1",
        "pod": "pod-0",
        "pk": "1",
        "format": ".json",
    }
