"""Pages of alerts hear of every change: who joined before it, and nobody else."""

from datetime import timedelta

import pytest
from channels.db import database_sync_to_async
from channels.routing import URLRouter
from django.utils import timezone

from apps.alerts import services, watching
from apps.alerts.models import Incident
from apps.alerts.routing import websocket_urlpatterns
from tests.sockets import Socket

from .conftest import look, slot

pytestmark = [pytest.mark.asyncio, pytest.mark.django_db(transaction=True)]
CHANGED = {"type": "alerts.changed"}


async def open_socket(project, user):
    socket = Socket(URLRouter(websocket_urlpatterns), f"/ws/projects/{project.slug}/alerts/", user)
    return socket, *(await socket.connect())


async def test_members_hear_of_every_change(schedule, rule, project, viewer, member, owner):
    page, accepted, _ = await open_socket(project, viewer)
    assert accepted
    assert await page.hear() == {"type": "project.joined", "project": project.slug}

    def fail():
        slot(schedule)
        look(schedule)

    def snooze():
        until = timezone.now() + timedelta(hours=1)
        services.snooze_incident(incident=Incident.objects.get(), until=until, actor=member)

    def end_snooze():
        Incident.objects.update(snoozed_until=timezone.now())
        watching.end_snooze_of_incident(incident_id=Incident.objects.get().pk)

    def recover():
        slot(schedule, "succeeded")
        look(schedule)

    def test_channel():
        services.send_test(channel=rule.channels.get(), actor=owner)

    for happens in (fail, snooze, end_snooze, recover, test_channel):
        await database_sync_to_async(happens)()
        assert await page.hear() == CHANGED, happens.__name__
        while not await page.receive_nothing(0.05):  # the message that went out with it
            assert await page.hear() == CHANGED
    await page.leave()


async def test_a_look_that_finds_nothing_new_tells_nobody(schedule, rule, project, member):
    await database_sync_to_async(slot)(schedule)
    await database_sync_to_async(look)(schedule)
    page, *_ = await open_socket(project, member)
    await page.hear()

    await database_sync_to_async(look)(schedule)

    assert await page.receive_nothing()
    await page.leave()


async def test_outsiders_are_turned_away(project, outsider):
    _, accepted, code = await open_socket(project, outsider)

    assert (accepted, code) == (False, 4404)
