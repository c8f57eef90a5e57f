import pytest
from channels.db import database_sync_to_async
from channels.routing import URLRouter

from apps.pipelines import services, steering
from apps.pipelines.routing import websocket_urlpatterns
from tests.sockets import Socket

pytestmark = [pytest.mark.asyncio, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def run(cluster, make_pipeline, member):
    return services.start_run(pipeline=make_pipeline(), actor=member)


async def open_socket(path, user):
    socket = Socket(URLRouter(websocket_urlpatterns), path, user)
    return socket, *(await socket.connect())


async def test_members_see_where_it_stands_then_each_change(run, member):
    page, accepted, _ = await open_socket(f"/ws/runs/{run.uid}/", member)
    assert accepted
    joined = await page.hear()
    assert (joined["status"], joined["tasks"]) == ("running", [["a", -1, "submitted"], ["b", -1, "waiting"]])

    await database_sync_to_async(steering.stop_run)(run=run, actor=member)

    heard = await page.hear()
    assert (heard["type"], heard["status"]) == ("run.status_changed", "stopping")
    assert heard["version"] > joined["version"]
    heard = await page.hear()
    assert (heard["type"], heard["tasks"]) == ("run.tasks_changed", [["b", -1, "stopped"]])
    await page.leave()


async def test_outsiders_are_turned_away(run, outsider):
    _, accepted, code = await open_socket(f"/ws/runs/{run.uid}/", outsider)

    assert (accepted, code) == (False, 4404)


async def test_the_list_hears_of_runs_and_versions(run, member, project):
    page, accepted, _ = await open_socket(f"/ws/projects/{project.slug}/runs/", member)
    assert accepted
    await page.hear()

    await database_sync_to_async(steering.stop_run)(run=run, actor=member)

    heard = await page.hear()
    assert (heard["type"], heard["uid"], heard["status"]) == ("run.status_changed", str(run.uid), "stopping")
    await page.leave()
