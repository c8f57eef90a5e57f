"""The socket of a terminal, with the fake cluster behind it."""

import json

import pytest
from channels.db import database_sync_to_async
from channels.routing import URLRouter

from apps.accounts.models import AuditEntry
from apps.clusters.gateway import ObjectRef
from apps.jobs import debugging, services
from apps.jobs.consumers import TerminalConsumer
from apps.jobs.models import Attempt, Job, Pod, Terminal
from apps.jobs.routing import websocket_urlpatterns
from apps.projects.roles import Role
from apps.projects.services import remove_member, set_role
from tests.sockets import Socket

pytestmark = [pytest.mark.asyncio, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def source(cluster, project, member, template_version):
    return services.submit_job(
        project=project, name="train", template_version=template_version, params={}, actor=member
    )


@pytest.fixture
def session(source, cluster, member):
    """A debug session whose pod runs."""
    job = debugging.debug_job(job=source, actor=member)
    attempt = Attempt.objects.get(job=job)
    Pod.objects.create(attempt=attempt, uid="u", name="p0", phase="Running")
    Job.objects.filter(pk=job.pk).update(status="running")
    meta = {"name": "p0", "namespace": f"cube-{job.project.slug}"}
    if ObjectRef("v1", "Namespace", meta["namespace"]) not in cluster.objects:
        cluster.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": meta["namespace"]}})
    spec = {"nodeName": "n", "containers": [{"name": "main"}]}
    cluster.add({"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec, "status": {"phase": "Running"}})
    return job


class Screen(Socket):
    async def type(self, data):
        await self.send_input({"type": "websocket.receive", "bytes": data})

    async def read(self, until):
        """Bytes of the terminal until these have come; the order of what is told in between does not matter."""
        seen = b""
        while until not in seen:
            answer = await self.receive_output(3)
            assert answer["type"] == "websocket.send", (answer, seen)
            seen += answer.get("bytes") or b""
        return seen

    async def told(self, kind):
        while True:
            answer = await self.receive_output(3)
            assert answer["type"] == "websocket.send", answer
            if answer.get("text") and (message := json.loads(answer["text"]))["type"] == kind:
                return message


async def enter(session, user):
    screen = Screen(URLRouter(websocket_urlpatterns), f"/ws/jobs/{session.uid}/terminal/", user)
    return screen, *(await screen.connect())


async def opened(session, user):
    screen, accepted, code = await enter(session, user)
    assert accepted, code
    await screen.told("terminal.opened")
    return screen


async def audited():
    return await database_sync_to_async(
        lambda: [
            *AuditEntry.objects.filter(action__startswith="terminal.")
            .order_by("pk")
            .values_list("action", "detail__why")
        ]
    )()


async def test_bytes_go_both_ways_and_its_end_is_told(session, member, cluster):
    screen = await opened(session, member)
    await screen.say({"type": "resize", "columns": 120, "rows": 40})

    await screen.type("echo grüß\r".encode())
    await screen.read("\ngrüß\r\n".encode())
    await screen.type(b"stty size\r")
    await screen.read(b"40 120\r\n")
    await screen.type(b"exit 3\r")

    assert (await screen.told("terminal.ended"))["exit_code"] == 3
    assert await screen.closed() == 1000
    assert await audited() == [("terminal.open", None), ("terminal.close", "ended")]
    (execution,) = cluster.server.executions
    assert execution.command[0] == "sh"
    assert not execution.is_open


async def test_leaving_ends_the_connection_to_the_container(session, member, cluster):
    screen = await opened(session, member)

    await screen.leave()

    assert not cluster.server.executions[0].is_open
    assert await audited() == [("terminal.open", None), ("terminal.close", "left")]


async def test_outsiders_and_viewers_find_nothing(session, outsider, viewer, cluster):
    for stranger in (outsider, viewer):
        _, accepted, code = await enter(session, stranger)
        assert (accepted, code) == (False, 4404)

    assert cluster.server.executions == []


async def test_a_job_that_is_no_session_or_does_not_run_has_no_terminal(source, session, member):
    await database_sync_to_async(Job.objects.filter(pk=source.pk).update)(status="running")
    _, accepted, code = await enter(source, member)
    assert (accepted, code) == (False, 4404)

    await database_sync_to_async(Job.objects.filter(pk=session.pk).update)(status="starting")

    _, accepted, code = await enter(session, member)
    assert (accepted, code) == (False, 4404)


async def test_who_leaves_the_project_is_cut_off(session, member, owner, project, cluster):
    screen = await opened(session, member)

    await database_sync_to_async(remove_member)(project=project, user=member, actor=owner)

    assert await screen.closed() == 4403
    assert not cluster.server.executions[0].is_open
    assert (await audited())[-1] == ("terminal.close", "access taken away")


async def test_so_is_who_becomes_a_viewer(session, member, owner, project, cluster):
    screen = await opened(session, member)

    await database_sync_to_async(set_role)(project=project, user=member, role=Role.VIEWER, actor=owner)

    assert await screen.closed() == 4403
    await screen.type(b"echo too late\r")
    assert cluster.server.executions[0].typed == b""


async def test_stopping_the_session_closes_its_terminals(session, member):
    screen = await opened(session, member)

    await database_sync_to_async(services.stop_job)(job=session, actor=member)

    assert await screen.closed() == 4410


async def test_the_fifth_is_told_why_not(session, member):
    held = [await opened(session, member) for _ in range(4)]

    screen, accepted, _ = await enter(session, member)

    assert accepted
    assert "4 terminals" in (await screen.told("terminal.refused"))["text"]
    assert await screen.closed() == 4409
    assert await database_sync_to_async(Terminal.objects.count)() == 4
    for one in held:
        await one.leave()


async def test_a_connection_that_breaks_is_said_to_have_broken(session, member, cluster):
    screen = await opened(session, member)

    await cluster.server.executions[0].hang_up()

    await screen.told("terminal.refused")
    assert await screen.closed() == 4502


async def test_one_in_which_nothing_happens_is_closed(session, member, monkeypatch):
    monkeypatch.setattr(TerminalConsumer, "idle_seconds", 0.02)
    monkeypatch.setattr(TerminalConsumer, "beat_seconds", 0.01)
    screen = await opened(session, member)

    assert await screen.closed() == 4408


@pytest.mark.parametrize(
    "order",
    [
        "no json", "[]", "null", '{"type": "fly"}', '{"type": "resize", "columns": 0, "rows": 1}',
        '{"type": "resize", "columns": true, "rows": 1}', '{"type": "resize"}', '{"type": "drawn", "bytes": 10}',
        '{"type": "drawn", "bytes": "1"}', "x" * 2000,
    ],
)  # fmt: skip
async def test_an_order_without_sense_ends_it(session, member, order):
    screen = await opened(session, member)

    await screen.send_input({"type": "websocket.receive", "text": order})

    assert await screen.closed() == 4400


async def test_a_paste_beyond_the_window_ends_it(session, member):
    screen = await opened(session, member)

    await screen.type(b"x" * (64 * 1024 + 1))

    assert await screen.closed() == 4400
