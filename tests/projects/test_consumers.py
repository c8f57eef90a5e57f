import asyncio

import pytest
from channels.db import database_sync_to_async as in_thread
from channels.layers import get_channel_layer
from channels.routing import URLRouter
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.contrib.sessions.backends.db import SessionStore
from django.urls import path

from apps.accounts import services as accounts
from apps.accounts.models import AuditEntry
from apps.accounts.sockets import NoSuchSocket, SocketIdentity
from apps.projects import services
from apps.projects.consumers import ProjectConsumer
from apps.projects.models import Project
from apps.projects.roles import Role
from tests.sockets import Socket

pytestmark = [pytest.mark.asyncio, pytest.mark.django_db(transaction=True)]


class Following(ProjectConsumer):
    perm = "submit_job"

    def find(self):
        return self.visible_projects().filter(slug=self.scope["url_route"]["kwargs"]["project"]).first()

    def group_names(self):
        return [f"project.{self.watched.pk}"]

    def snapshot(self):
        return {"name": self.watched.name}

    async def said(self, event):
        await self.send_json({"said": event["text"]})


class Careless(Following):
    """Forgot to look through the person's eyes."""

    def find(self):
        return Project.objects.get(slug=self.scope["url_route"]["kwargs"]["project"])


class Unnamed(Careless):
    perm = ""


class Impatient(Following):
    ask_again_seconds = 0.05


CONSUMERS = [Following, Careless, Unnamed, Impatient]
ROUTER = URLRouter(
    [*(path(f"ws/{c.__name__}/<slug:project>/", c.as_asgi()) for c in CONSUMERS), path("", NoSuchSocket.as_asgi())]
)


def socket(consumer, project, user) -> Socket:
    return Socket(ROUTER, f"/ws/{consumer.__name__}/{project.slug}/", user)


async def say(project, text):
    await get_channel_layer().group_send(f"project.{project.pk}", {"type": "said", "text": text})


async def test_members_get_a_snapshot_then_changes(project, member):
    page = socket(Following, project, member)

    assert await page.connect() == (True, None)
    assert await page.hear() == {"name": project.name}
    await say(project, "hello")
    assert await page.hear() == {"said": "hello"}
    await page.leave()


@pytest.mark.parametrize("consumer", CONSUMERS)
async def test_outsiders_are_turned_away_and_told_of(consumer, project, outsider):
    assert await socket(consumer, project, outsider).connect() == (False, 4404)

    entry = await in_thread(AuditEntry.objects.filter(outcome="refused").get)()
    assert entry.action == f"refused SOCKET {consumer.__name__}"
    assert entry.actor_id == outsider.pk


@pytest.mark.parametrize("consumer", [Following, Careless])
async def test_a_role_without_the_permission_is_turned_away(consumer, project, viewer):
    assert await socket(consumer, project, viewer).connect() == (False, 4404)


async def test_a_consumer_that_names_no_permission_refuses_even_owners(project, owner):
    assert await socket(Unnamed, project, owner).connect() == (False, 4404)


async def test_losing_the_role_closes_the_socket(project, member):
    page = socket(Following, project, member)
    await page.connect()
    await page.hear()

    await in_thread(services.remove_member)(project=project, user=member)

    assert await page.closed() == 4403
    await say(project, "secret")
    assert await page.receive_nothing(0.1)


async def test_a_changed_role_that_still_allows_keeps_it_open(project, member):
    page = socket(Following, project, member)
    await page.connect()
    await page.hear()

    await in_thread(services.set_role)(project=project, user=member, role=Role.OPERATOR)

    await say(project, "still here")
    assert await page.hear() == {"said": "still here"}
    await page.leave()


async def test_deactivation_closes_it(project, member):
    page = socket(Following, project, member)
    await page.connect()
    await page.hear()

    await in_thread(accounts.deactivate_user)(user=member, actor=None)

    assert await page.closed() == 4401


async def test_time_alone_closes_it(project, member):
    page = socket(Impatient, project, member)
    await page.connect()
    await page.hear()

    await in_thread(type(member).objects.filter(pk=member.pk).update)(is_active=False)

    assert await page.closed() == 4401


async def test_nonsense_from_the_browser_closes_it_without_an_error(project, member):
    page = socket(Following, project, member)
    await page.connect()
    await page.hear()

    await page.send_input({"type": "websocket.receive", "text": "{not json"})

    assert await page.closed() == 4400


class TestIdentity:
    def at(self, project, headers=(), consumer=Following, query=""):
        async def application(scope, receive, send):
            scope = {**scope, "headers": list(headers)}
            scope.pop("user")
            return await SocketIdentity(ROUTER)(scope, receive, send)

        return Socket(application, f"/ws/{consumer.__name__}/{project.slug}/", None, query)

    async def token(self, user):
        return await in_thread(accounts.create_token)(user=user, name="cli")

    async def cookie(self, user):
        def make():
            session = SessionStore()
            session[SESSION_KEY] = str(user.pk)
            session[BACKEND_SESSION_KEY] = "django.contrib.auth.backends.ModelBackend"
            session[HASH_SESSION_KEY] = user.get_session_auth_hash()
            session.create()
            return session

        return await in_thread(make)()

    async def test_programs_come_with_a_token_and_no_origin(self, project, member):
        _, secret = await self.token(member)

        page = self.at(project, [(b"authorization", f"Bearer {secret}".encode())])

        assert await page.connect() == (True, None)
        await page.leave()

    async def test_revoking_the_token_closes_the_socket(self, project, member):
        token, secret = await self.token(member)
        page = self.at(project, [(b"authorization", f"Bearer {secret}".encode())])
        await page.connect()
        await page.hear()

        await in_thread(accounts.revoke_token)(token=token, actor=member)

        assert await page.closed() == 4401

    async def test_an_expired_token_closes_the_socket_in_time(self, project, member):
        from django.utils import timezone

        token, secret = await self.token(member)
        page = self.at(project, [(b"authorization", f"Bearer {secret}".encode())], consumer=Impatient)
        await page.connect()
        await page.hear()

        await in_thread(type(token).objects.update)(expires_at=timezone.now())

        assert await page.closed() == 4401

    @pytest.mark.parametrize("header", [b"Bearer cube_wrong", b"Bearer ", b"Basic YTpi", b"\xff\xfe"])
    async def test_a_bad_token_is_refused(self, project, member, header):
        assert await self.at(project, [(b"authorization", header)]).connect() == (False, 4401)

    async def test_a_token_in_the_address_is_not_looked_at(self, project, member):
        _, secret = await self.token(member)

        page = self.at(project, [(b"origin", b"http://localhost")], query=f"token={secret}")

        assert await page.connect() == (False, 4401)

    async def test_browsers_come_with_a_cookie_from_our_own_pages(self, project, member):
        session = await self.cookie(member)
        cookie = (b"cookie", f"cube_session={session.session_key}".encode())

        page = self.at(project, [cookie, (b"origin", b"http://localhost")])
        assert await page.connect() == (True, None)
        await page.leave()
        for headers in ([cookie], [cookie, (b"origin", b"https://evil.example")]):
            accepted, _ = await self.at(project, headers).connect()
            assert not accepted

    async def test_ending_the_session_closes_the_socket(self, project, member):
        session = await self.cookie(member)
        headers = [(b"cookie", f"cube_session={session.session_key}".encode()), (b"origin", b"http://localhost")]
        page = self.at(project, headers, consumer=Impatient)
        await page.connect()
        await page.hear()

        await in_thread(session.delete)()

        assert await page.closed() == 4401


async def test_leaving_ends_the_guard(project, member):
    page = socket(Impatient, project, member)
    await page.connect()
    await page.leave()
    before = len(asyncio.all_tasks())

    await asyncio.sleep(0.15)

    assert len(asyncio.all_tasks()) <= before
