import pytest
from channels.db import database_sync_to_async
from channels.routing import URLRouter

from apps.schedules import services
from apps.schedules.routing import websocket_urlpatterns
from tests.sockets import Socket

pytestmark = [pytest.mark.asyncio, pytest.mark.django_db(transaction=True)]


async def open_socket(path, user):
    socket = Socket(URLRouter(websocket_urlpatterns), path, user)
    return socket, *(await socket.connect())


async def test_members_hear_that_a_schedule_changed(make, member):
    schedule = await database_sync_to_async(make)()
    page, accepted, _ = await open_socket(f"/ws/schedules/{schedule.uid}/", member)
    assert accepted
    assert (await page.hear())["type"] == "schedule.joined"

    await database_sync_to_async(services.pause_schedule)(schedule=schedule, actor=member)

    assert await page.hear() == {"type": "schedule.changed", "uid": str(schedule.uid)}
    await page.leave()


async def test_outsiders_are_turned_away(make, outsider):
    schedule = await database_sync_to_async(make)()

    _, accepted, code = await open_socket(f"/ws/schedules/{schedule.uid}/", outsider)

    assert (accepted, code) == (False, 4404)
