import pytest
from channels.db import database_sync_to_async
from channels.routing import URLRouter

from apps.jobs import services
from apps.jobs.choices import JobStatus
from apps.jobs.routing import websocket_urlpatterns
from apps.projects.services import remove_member
from tests.sockets import Socket

pytestmark = [pytest.mark.asyncio, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def job(cluster, project, member, template_version):
    return services.submit_job(
        project=project, name="train", template_version=template_version, params={}, actor=member
    )


async def open_socket(path, user):
    socket = Socket(URLRouter(websocket_urlpatterns), path, user)
    return socket, *(await socket.connect())


async def test_members_see_where_it_stands_then_each_change(job, member):
    page, accepted, _ = await open_socket(f"/ws/jobs/{job.uid}/", member)
    assert accepted
    assert (await page.hear())["status"] == JobStatus.STARTING

    await database_sync_to_async(services.stop_job)(job=job, actor=member)

    assert (await page.hear())["status"] == JobStatus.STOPPING
    await page.leave()


async def test_outsiders_are_turned_away(job, outsider):
    _, accepted, code = await open_socket(f"/ws/jobs/{job.uid}/", outsider)

    assert (accepted, code) == (False, 4404)


async def test_who_leaves_the_project_hears_no_more(job, owner, member, project):
    page, _, _ = await open_socket(f"/ws/jobs/{job.uid}/", member)
    await page.hear()

    await database_sync_to_async(remove_member)(project=project, user=member, actor=owner)

    assert await page.closed() == 4403


async def test_the_list_hears_of_every_job(job, member, project):
    page, accepted, _ = await open_socket(f"/ws/projects/{project.slug}/jobs/", member)
    assert accepted
    await page.hear()

    await database_sync_to_async(services.stop_job)(job=job, actor=member)

    heard = await page.hear()
    assert (heard["uid"], heard["status"]) == (str(job.uid), JobStatus.STOPPING)
    await page.leave()
