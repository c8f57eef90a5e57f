"""An outsider walks through the whole house. Rooms added later are walked too: see routes.py."""

import ast
from pathlib import Path
from types import SimpleNamespace
from uuid import uuid4

import pytest
from channels.db import database_sync_to_async
from django.apps import apps
from django.contrib.auth.models import AnonymousUser
from django.core import serializers
from django.test import Client
from django.utils import timezone
from rest_framework.test import APIClient
from rest_framework.viewsets import GenericViewSet

from apps.accounts import services as accounts
from apps.alerts.models import Channel, Incident, Rule
from apps.jobs.models import Job
from apps.pipelines.models import Pipeline, Run, Version
from apps.projects.api.scoping import ProjectObjectViewSet, ProjectViewSet
from apps.projects.consumers import ProjectConsumer
from apps.projects.owned import ProjectOwned
from apps.projects.pages import ProjectPage
from apps.projects.roles import ALL
from apps.projects.services import set_secret
from apps.schedules.models import Backfill, Schedule, Slot
from cube.asgi import application
from tests.factories import ClusterFactory, TemplateVersionFactory
from tests.sockets import Socket

from .routes import OF_PROJECTS, OPEN, OURS, PUBLIC, ROUTES, Route, sample_values

ROOT = Path(__file__).resolve().parents[2]
INTERFACES = sorted(
    path
    for path in ROOT.glob("apps/*/**/*.py")
    if "devcluster" not in path.parts  # It is a cluster, not an interface to tenants' rows.
    and (path.name in {"views.py", "consumers.py", "forms.py", "pages.py"} or {"api", "views"} & set(path.parts))
)
# Rows that belong to somebody. Clusters and templates are everybody's to read.
TENANTS = {
    model.__name__
    for model in apps.get_models()
    if issubclass(model, ProjectOwned) or model._meta.app_label in {"accounts", "projects"}
}
# What a refused request may leave behind: its own trace.
TRACES = {"accounts.AuditEntry", "accounts.BrowserSession", "sessions.Session"}


@pytest.fixture
def world(project, owner):
    """A project with one of everything a route can name, none of it the outsider's."""
    job = Job.objects.create(  # a debug session that runs: it has every page and every socket that a job can have
        project=project,
        name="theirs",
        cluster=ClusterFactory(),
        template_version=TemplateVersionFactory(),
        is_debug=True,
        status="running",
    )
    pipeline = Pipeline.objects.create(project=project, name="theirs")
    version = Version.objects.create(
        pipeline=pipeline, number=1, graph={"tasks": {}}, schema={}, parallelism=1, task_count=0
    )
    run = Run.objects.create(project=project, pipeline=pipeline, pipeline_version=version)
    token, _ = accounts.create_token(user=owner, name="theirs")
    secret = set_secret(project=project, name="theirs", data={"API_KEY": "open-sesame"})
    now = timezone.now()
    schedule = Schedule.objects.create(project=project, name="theirs", pipeline=pipeline, cron="@daily")
    slot = Slot.objects.create(project=project, schedule=schedule, uid=uuid4(), logical_at=now, due_at=now)
    backfill = Backfill.objects.create(project=project, schedule=schedule, from_at=now, to_at=now)
    channel = Channel.objects.create(project=project, name="theirs", kind="email", addresses=["a@example.com"])
    alert_rule = Rule.objects.create(project=project, name="theirs")
    incident = Incident.objects.create(
        project=project,
        rule=alert_rule,
        condition="failed",
        pipeline=pipeline,
        subject=f"pipeline:{pipeline.pk}",
        opened_at=now,
        last_at=now,
    )
    return SimpleNamespace(
        project=project,
        owner=owner,
        job=job,
        token=token,
        secret=secret,
        pipeline=pipeline,
        run=run,
        schedule=schedule,
        slot=slot,
        backfill=backfill,
        channel=channel,
        alert_rule=alert_rule,
        incident=incident,
    )


def everything() -> str:
    """The whole database as text, but for the traces of asking."""
    models = [m for m in apps.get_models() if m._meta.label not in TRACES and m._meta.managed]
    return "\n".join(serializers.serialize("json", m._default_manager.order_by("pk")) for m in models)


def ask(client: Client, method: str, url: str):
    return getattr(client, method)(url, data={} if method == "get" else "{}", content_type="application/json")


class TestTheWalk:
    def test_finds_the_routes(self):
        found = {route.path for route in OURS}

        assert {"sign-in/", "projects/<project>/members/", "projects/<project>/jobs/<uid>/stop/"} <= found
        assert {"api/v1/me/", "api/v1/projects/<project>/secrets/<name>/", "api/v1/jobs/<uid>/"} <= found
        assert OF_PROJECTS

    @pytest.mark.parametrize("route", OURS, ids=str)
    def test_an_outsider_sees_and_changes_nothing(self, route: Route, world, outsider, client):
        client.force_login(outsider)
        url, before = route.url(sample_values(world, route)), everything()

        for method in route.methods:
            answer = ask(client, method, url)

            assert answer.status_code < 500, (method, url)
            if "project" in route.parameters:
                assert answer.status_code == 404, (method, url)
            elif route.parameters and route.path not in OPEN:
                assert answer.status_code in {403, 404}, (method, url)
            if answer.status_code == 200 and not answer.streaming:
                assert world.project.slug not in answer.content.decode(), (method, url)
        assert everything() == before

    @pytest.mark.parametrize("route", [r for r in OURS if r.path not in PUBLIC], ids=str)
    def test_nobody_gets_in_without_signing_in(self, route: Route, world):
        url, before = route.url(sample_values(world, route)), everything()

        for method in route.methods:
            answer = ask(Client(), method, url)

            if route.is_api:
                assert answer.status_code == 401, (method, url)
                assert answer["WWW-Authenticate"] == "Bearer"
                assert answer.json()["status"] == 401
            else:
                assert answer.status_code == 302, (method, url)
                assert answer["Location"].startswith("/sign-in/?next=")
        assert everything() == before

    @pytest.mark.parametrize("route", [r for r in ROUTES if r.is_admin and not r.parameters], ids=str)
    def test_the_admin_lets_only_staff_in(self, route: Route, outsider, client):
        client.force_login(outsider)

        answer = client.get(route.url({}))

        if route.path in {"admin/login/", "admin/logout/", "admin/jsi18n/"}:
            return
        assert answer.status_code == 302
        assert "/login/" in answer["Location"] or "/sign-in/" in answer["Location"]

    def test_an_unknown_api_address_is_a_problem_document(self, client):
        answer = client.get("/api/v1/no-such-thing/")

        assert answer.status_code == 404
        assert answer["Content-Type"] == "application/problem+json"
        assert answer.json()["code"] == "not_found"


class TestEveryDoorNamesItsPermission:
    @pytest.mark.parametrize("route", [r for r in OF_PROJECTS if not r.is_api], ids=str)
    def test_pages(self, route: Route):
        assert route.page is not None
        assert issubclass(route.page, ProjectPage), f"{route} is not a ProjectPage"
        assert route.page.perm in ALL
        assert set(route.page.method_perms.values()) <= ALL

    @pytest.mark.parametrize("route", [r for r in OF_PROJECTS if r.is_api], ids=str)
    def test_project_viewsets(self, route: Route):
        assert route.viewset is not None
        assert issubclass(route.viewset, ProjectViewSet)
        self._names_all(route)

    @pytest.mark.parametrize(
        "route", [r for r in OURS if r.viewset and issubclass(r.viewset, ProjectObjectViewSet)], ids=str
    )
    def test_object_viewsets(self, route: Route):
        self._names_all(route)

    @pytest.mark.parametrize("route", [r for r in OURS if r.is_api and "uid" in r.parameters], ids=str)
    def test_what_is_addressed_by_uid_has_a_door(self, route: Route):
        assert route.viewset is not None
        own = route.path.startswith("api/v1/tokens/")  # Tokens are a person's, not a project's.
        assert own or issubclass(route.viewset, ProjectObjectViewSet | ProjectViewSet)

    @staticmethod
    def _names_all(route: Route) -> None:
        assert route.viewset is not None
        named = route.viewset.project_permissions
        assert set(route.actions.values()) <= set(named), f"{route} has an action nobody named"
        assert set(named.values()) <= ALL

    @pytest.mark.parametrize("route", [r for r in OURS if r.viewset], ids=str)
    def test_no_view_of_the_api_is_open(self, route: Route):
        assert route.viewset is not None
        permissions = route.view.initkwargs.get("permission_classes", route.viewset.permission_classes)  # type: ignore[attr-defined]

        assert permissions, f"{route} asks nobody anything"
        if issubclass(route.viewset, GenericViewSet):
            assert route.actions


def sockets() -> list:
    router = application.application_mapping["websocket"]
    while not hasattr(router, "routes"):
        router = router.inner
    return router.routes[:-1]  # The last one refuses what no other knows.


def at(route, kwargs: dict):
    """The consumer of a route as if its address had been parsed."""

    async def addressed(scope, receive, send):
        return await route.callback({**scope, "url_route": {"args": (), "kwargs": kwargs}}, receive, send)

    return addressed


class TestSockets:
    @pytest.mark.parametrize("route", sockets(), ids=lambda r: str(r.pattern))
    def test_every_socket_names_its_permission(self, route):
        consumer = route.callback.consumer_class

        assert issubclass(consumer, ProjectConsumer)
        assert consumer.perm in ALL

    @pytest.mark.asyncio
    @pytest.mark.django_db(transaction=True)
    @pytest.mark.parametrize("who", ["outsider", "nobody"])
    async def test_outsiders_are_turned_away(self, who, world, outsider):
        user = outsider if who == "outsider" else AnonymousUser()
        before = await database_sync_to_async(everything)()

        for route in sockets():
            kwargs = {"uid": world.job.uid, "project": world.project.slug}
            socket = Socket(at(route, kwargs), "/ws/", user)
            accepted, code = await socket.connect()

            assert not accepted, route.pattern
            assert code == (4404 if who == "outsider" else 4401)
        assert await database_sync_to_async(everything)() == before


@pytest.mark.parametrize("path", INTERFACES, ids=lambda p: str(p.relative_to(ROOT)))
def test_interfaces_fetch_only_what_the_user_may_see(path):
    """What belongs to somebody is read through `visible_to` alone; a class-level `queryset` is narrowed by its door."""
    tree = ast.parse(path.read_text())
    declared = {
        node
        for statement in ast.walk(tree)
        if isinstance(statement, ast.ClassDef | ast.Module)
        for line in statement.body
        if isinstance(line, ast.Assign | ast.AnnAssign) and _is_queryset(line)
        for node in ast.walk(line)
    }
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(attr=method, value=ast.Attribute(attr="objects", value=ast.Name(id=model))):
                allowed = model not in TENANTS or node in declared or method in {"visible_to", "none"}
                assert allowed, f"{path}:{node.lineno} reads {model}.objects.{method}"


def _is_queryset(line: ast.Assign | ast.AnnAssign) -> bool:
    target = line.targets[0] if isinstance(line, ast.Assign) else line.target
    return isinstance(target, ast.Name) and (target.id == "queryset" or target.id.isupper())


def test_the_client_of_the_api_is_not_excused_from_csrf(owner):
    client = APIClient(enforce_csrf_checks=True)
    client.force_login(owner)

    assert client.post("/api/v1/tokens/", {"name": "x"}).status_code == 403
