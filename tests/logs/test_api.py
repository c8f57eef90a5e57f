"""The log for programs: text and NDJSON, chosen, followed, refused."""

import asyncio
import io
import zipfile

import orjson
import pytest
from channels.db import database_sync_to_async
from django.test import AsyncClient

from apps.logs import hub
from apps.logs.api import views
from apps.logs.lines import Gap
from apps.projects.services import remove_member

from .conftest import record, stamp
from .writers import Writer

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
async def api(viewer):
    client = AsyncClient()
    await database_sync_to_async(client.force_login)(viewer)
    return client


@pytest.fixture
async def two_pods(make_stream):
    def make():
        return (
            make_stream([(1, b"a"), (3, b"\rc \xff"), (5, b"")], pod="train-0", rank=0),
            make_stream([(2, b"b"), record(4, b"first ", kind=b"p"), record(4, b"second")], pod="train-1", rank=1),
        )

    return await database_sync_to_async(make)()


async def body(response):
    return b"".join([part async for part in response.streaming_content])


def url(job, query="", slash="/"):
    return f"/api/v1/jobs/{job.uid}/logs{slash}{query}"


class TestText:
    @pytest.mark.parametrize("slash", ["/", ""])
    async def test_merges_the_pods_by_time_and_names_them(self, api, job, two_pods, slash):
        response = await api.get(url(job, slash=slash))

        assert response.status_code == 200
        assert response["Content-Type"] == "text/plain; charset=utf-8"
        assert response["X-Content-Type-Options"] == "nosniff"
        assert await body(response) == b"[0] a\n[1] b\n[0] \rc \xff\n[1] first second\n[0] \n"

    @pytest.mark.parametrize(
        ("query", "expected"),
        [
            ("?pod=train-0", b"a\n\rc \xff\n\n"),
            ("?pod=1&timestamps=true", stamp(2) + b" b\n" + stamp(4) + b" first second\n"),
            ("?pod=7", b""),
            ("?container=other", b""),
            ("?since=2026-11-24T02:00:03Z&pod=0", b"\rc \xff\n\n"),
            ("?since=2026-11-24T10:00:04.5%2B08:00", b"\n"),
            ("?tail=2&pod=0", b"\rc \xff\n\n"),
            ("?tail=0", b""),
            ("?tail=2&pod=0&since=2026-11-24T02:00:05Z", b"\n"),
            ("?rank=0,7&until=2026-11-24T02:00:03Z", b"a\n"),
            ("?pod=0&text=C", b"\rc \xff\n"),
            ("?pod=0&text=C&case=1", b""),
            ("?pod=train-0&text=%5E(a|.c)&regex=1", b"a\n\rc \xff\n"),
            ("?pod=0&limit=1", b"a\n"),
            ("?attempt=2", b""),
        ],
    )
    async def test_gives_what_was_chosen(self, api, job, two_pods, query, expected):
        answer = await body(await api.get(url(job, query)))

        assert answer.replace(b"[0] ", b"") == expected

    async def test_downloads_under_a_safe_name(self, api, job, two_pods):
        response = await api.get(url(job, "?download=1"))

        assert response["Content-Disposition"] == f'attachment; filename="train-{str(job.uid)[:8]}.log"'
        await body(response)

    async def test_a_gap_is_told_apart_from_what_the_container_wrote(self, api, job, make_stream):
        await database_sync_to_async(make_stream)(
            [
                record(1, b"half ", kind=b"p"),
                Gap("cut", "Lines may be missing here.").record(stamp(1)),
                record(2, b"two"),
            ]
        )

        assert await body(await api.get(url(job))) == b"half \n--- Lines may be missing here. ---\ntwo\n"

    async def test_a_ten_megabyte_line_comes_whole(self, api, job, make_stream):
        text = b"x" * (10 * 1024 * 1024)
        await database_sync_to_async(make_stream)([(1, text)])

        assert await body(await api.get(url(job))) == text + b"\n"


class TestNdjson:
    @pytest.mark.parametrize("ask", [{"query": "?format=ndjson"}, {"accept": "application/x-ndjson"}])
    async def test_is_one_object_a_line(self, api, job, two_pods, ask):
        headers = {"accept": ask["accept"]} if "accept" in ask else {}
        response = await api.get(url(job, ask.get("query", "")), headers=headers)

        lines = [orjson.loads(line) for line in (await body(response)).splitlines()]

        assert response["Content-Type"] == "application/x-ndjson; charset=utf-8"
        assert [line["text"] for line in lines] == ["a", "b", "\rc \ufffd", "first ", "second", ""]
        assert lines[0] == {
            "time": stamp(1).decode(),
            "pod": "train-0",
            "container": "main",
            "rank": 0,
            "restart": 0,
            "attempt": 1,
            "stream": two_pods[0].pk,
            "line": 0,
            "text": "a",
        }
        assert [line.get("kind") for line in lines] == [None, None, None, "part", None, None]


class TestRefusals:
    @pytest.mark.parametrize(
        ("query", "field"),
        [
            ("?text=(&regex=1", "text"),
            ("?text=" + "x" * 1001, "text"),
            ("?from=7", "from"),
            ("?from=7:-1", "from"),
            ("?rank=one", "rank"),
            ("?limit=0", "limit"),
            ("?tail=5&limit=5", "limit"),
            ("?format=zip&follow=1", "follow"),
            ("?until=tomorrow", "until"),
            ("?since=yesterday", "since"),
            ("?tail=-1", "tail"),
            ("?tail=many", "tail"),
            ("?follow=perhaps", "follow"),
            ("?folow=true", "folow"),
            ("?pod=" + "x" * 300, "pod"),
        ],
    )
    async def test_name_the_field(self, api, job, query, field):
        response = await api.get(url(job, query))

        assert response.status_code == 400
        assert response["Content-Type"] == "application/problem+json"
        assert [error["field"] for error in orjson.loads(response.content)["errors"]] == [field]

    async def test_an_outsider_sees_no_job_and_nobody_must_sign_in(self, job, two_pods, outsider):
        client = AsyncClient()
        assert (await client.get(url(job))).status_code in (401, 403)
        await database_sync_to_async(client.force_login)(outsider)

        response = await client.get(url(job))

        assert response.status_code == 404
        assert b"[0]" not in response.content

    async def test_writing_is_not_a_thing_here(self, api, job, two_pods):
        assert (await api.post(url(job))).status_code in (403, 405)


class TestFollow:
    async def test_streams_until_the_job_has_ended(self, api, job, make_stream, hot_redis):
        row = await database_sync_to_async(make_stream)([(1, b"one")])
        writer = Writer(row, job)

        async def write():
            for i in range(5):
                await asyncio.sleep(0.1)
                await writer.write([record(2 + i, b"%d" % i)])
            await writer.end()

        writing = asyncio.create_task(write())
        answer = await asyncio.wait_for(body(await api.get(url(job, "?follow=true"))), 10)
        await writing

        assert answer == b"one\n0\n1\n2\n3\n4\n"
        assert hub.current()._feeds == {}

    async def test_ends_when_access_does(self, api, job, project, viewer, make_stream, hot_redis, monkeypatch):
        monkeypatch.setattr(views, "ASK_AGAIN_SECONDS", 0)
        row = await database_sync_to_async(make_stream)([(1, b"before")])
        parts = aiter((await api.get(url(job, "?follow=true"))).streaming_content)
        assert b"before" in await asyncio.wait_for(anext(parts), 10)

        await database_sync_to_async(remove_member)(project=project, user=viewer)
        await Writer(row, job).write([record(2, b"after")])

        assert await asyncio.wait_for(anext(parts, b"nothing"), 10) == b"nothing"

    async def test_leaving_frees_everything(self, api, job, make_stream, hot_redis):
        await database_sync_to_async(make_stream)([(1, b"one")])
        response = await api.get(url(job, "?follow=true"))
        parts = aiter(response.streaming_content)
        assert await anext(parts) == b"one\n"
        assert len(hub.current()._feeds) == 1

        # As the ASGI server does when the client is gone.
        waiting = asyncio.create_task(anext(parts))
        await asyncio.sleep(0.05)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)

        assert hub.current()._feeds == {}

    async def test_a_limit_ends_it(self, api, job, make_stream, hot_redis):
        row = await database_sync_to_async(make_stream)([(1, b"one")])
        writer = Writer(row, job)

        async def write():
            for i in range(5):
                await asyncio.sleep(0.05)
                await writer.write([record(2 + i, b"%d" % i)])

        writing = asyncio.create_task(write())
        answer = await asyncio.wait_for(body(await api.get(url(job, "?follow=true&limit=3"))), 10)
        await writing

        assert answer == b"one\n0\n1\n"

    async def test_does_not_give_what_may_be_taken_back(self, api, job, make_stream, hot_redis):
        row = await database_sync_to_async(make_stream)([(1, b"one")])
        writer = Writer(row, job)
        await writer.write([record(2, b"lost")], commit=False)
        parts = aiter((await api.get(url(job, "?follow=true"))).streaming_content)
        first = await anext(parts)
        await writer.crash()
        await writer.write([record(2, b"found")])
        await writer.end()

        assert first + b"".join([part async for part in parts]) == b"one\nfound\n"


class TestCursors:
    async def test_lead_on_from_the_last_object_without_gap_or_double(self, api, job, two_pods):
        first = await body(await api.get(url(job, "?format=ndjson&limit=4")))
        lines = [orjson.loads(line) for line in first.splitlines()]
        cursors = {line["stream"]: line["line"] + 1 for line in lines}

        query = ",".join(f"{stream}:{line}" for stream, line in cursors.items())
        rest = await body(await api.get(url(job, f"?format=ndjson&from={query}")))

        assert first + rest == await body(await api.get(url(job, "?format=ndjson")))


class TestZip:
    async def test_holds_a_file_per_pod_and_container(self, api, job, two_pods, make_stream):
        def more():
            make_stream([(1, b"side")], pod="train-0", container="sidecar", rank=0)
            make_stream([(9, b"again")], pod="train-0", rank=0, restart=1)

        await database_sync_to_async(more)()
        response = await api.get(url(job, "?format=zip"))
        archive = zipfile.ZipFile(io.BytesIO(await body(response)))

        assert response["Content-Type"] == "application/zip"
        assert response["Content-Disposition"] == f'attachment; filename="train-{str(job.uid)[:8]}.zip"'
        assert archive.testzip() is None
        assert {name: archive.read(name) for name in archive.namelist()} == {
            "train-0/main.log": b"a\n\rc \xff\n\n",
            "train-1/main.log": b"b\nfirst second\n",
            "train-0/sidecar.log": b"side\n",
            "train-0/main-restart-1.log": b"again\n",
        }

    async def test_what_was_chosen_goes_in(self, api, job, two_pods):
        response = await api.get(url(job, "?format=zip&rank=1&text=b&timestamps=1"))
        archive = zipfile.ZipFile(io.BytesIO(await body(response)))

        assert {name: archive.read(name) for name in archive.namelist()} == {"train-1/main.log": stamp(2) + b" b\n"}
