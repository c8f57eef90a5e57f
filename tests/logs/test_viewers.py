# ruff: noqa: S311
"""The socket: history and then live without a seam, each line once, for fast and slow viewers alike."""

import asyncio
import random
import tempfile
from pathlib import Path

import orjson
import pytest
from channels.db import database_sync_to_async
from channels.routing import URLRouter
from django.contrib.auth.models import AnonymousUser
from django.utils import timezone

from apps.logs import consumers, hot, hub, store
from apps.logs.hot import decode, encode
from apps.logs.routing import websocket_urlpatterns
from apps.logs.viewing import Viewing, frames, in_order
from tests.sockets import Socket

from .conftest import record, stamp, start_valkey

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _hurry(monkeypatch):
    monkeypatch.setattr(consumers, "ALONE_SECONDS", 0.01)
    monkeypatch.setattr(consumers, "TOGETHER_SECONDS", 0.02)
    monkeypatch.setattr(hub, "LOOK_SECONDS", 0.3)


@pytest.fixture
async def watch(job, viewer, hot_redis):
    """Open a socket as `user`; the communicators are closed at the end."""
    opened = []

    async def open_(query="", user=viewer, uid=job.uid):
        socket = Socket(URLRouter(websocket_urlpatterns), f"/ws/jobs/{uid}/logs/", user, query)
        opened.append(socket)
        return socket, await socket.connect(timeout=5)

    yield open_
    for socket in opened:
        await socket.leave()


class Writer:
    """A collector in small: stores, then announces. Announcing may fail, as when Redis is away."""

    def __init__(self, row, job):
        self.row, self.key, self.file, self.client = row, hot.key_of(job.uid), store.Appender(row.source), hot.connect()

    async def write(self, records, *, announce=True):
        first = self.file.lines
        self.file.append(records)
        if announce:
            await self.client.xadd(self.key, {"b": encode(self.row.pk, first, records)})

    async def record(self, **more):
        self.row.line_count, self.row.byte_count = self.file.lines, self.file.bytes
        for name, value in more.items():
            setattr(self.row, name, value)
        await database_sync_to_async(self.row.save)()

    async def end(self, job):
        await self.record(is_complete=True)
        job.status, job.finished_at = "succeeded", timezone.now()
        await database_sync_to_async(job.save)()
        await self.client.xadd(self.key, {"b": hot.news(self.row.pk)})
        self.file.close()
        await self.client.aclose()


async def read_lines(socket, number, seconds=10):
    """Lines until there are `number`; other messages come back beside them."""
    lines, others = [], []
    async with asyncio.timeout(seconds):
        while len(lines) < number:
            message = await socket.hear(seconds)
            if message["type"] == "lines":
                lines += message["lines"]
            else:
                others.append(message)
    return lines, others


async def read_to_end(socket, seconds=10):
    lines, others = [], []
    async with asyncio.timeout(seconds):
        while True:
            message = await socket.hear(seconds)
            if message["type"] == "lines":
                lines += message["lines"]
            else:
                others.append(message["type"])
            if message["type"] == "end":
                return lines, others


class TestAccess:
    async def test_an_outsider_and_nobody_see_nothing(self, watch, outsider, make_stream):
        await database_sync_to_async(make_stream)([(1, b"secret")])

        for user, code in ((outsider, 4404), (AnonymousUser(), 4401)):
            _, (connected, closed_with) = await watch(user=user)
            assert (connected, closed_with) == (False, code)

    async def test_a_job_that_is_not_there_looks_the_same(self, watch):
        _, answer = await watch(uid="00000000-0000-0000-0000-000000000009")

        assert answer == (False, 4404)

    async def test_lines_stop_when_the_membership_ends(self, watch, job, viewer, make_stream, project):
        from apps.projects.models import Membership
        from apps.projects.services import _make_grants_match

        row = await database_sync_to_async(make_stream)([(1, b"one")])
        socket, _ = await watch()
        await read_lines(socket, 1)

        def leave():
            Membership.objects.filter(user=viewer, project=project).delete()
            _make_grants_match(project, viewer, frozenset())

        await database_sync_to_async(leave)()
        from channels.layers import get_channel_layer

        await get_channel_layer().group_send(f"user.{viewer.pk}", {"type": "membership.changed"})
        message = await socket.receive_output(timeout=5)

        assert (message["type"], message["code"]) == ("websocket.close", 4403)
        writer = Writer(row, job)
        await writer.write([record(2, b"after")])
        assert await socket.receive_nothing(timeout=0.3)

    @pytest.mark.parametrize(
        "text", ["[]", "{", '{"type":"x"}', '{"type":"before","cursors":{"1":-1}}', '{"type":"latest","count":true}']
    )
    async def test_a_malformed_message_ends_the_conversation(self, watch, text):
        socket, _ = await watch()
        await socket.hear(5)

        await socket.send_input({"type": "websocket.receive", "text": text})

        message = await socket.receive_output(timeout=5)
        assert (message["type"], message["code"]) == ("websocket.close", 4400)


class TestHistoryThenLive:
    async def test_tells_the_streams_then_the_tail_merged_by_time(self, watch, make_stream):
        def rows():
            first = make_stream([(1, b"a"), (3, b"c"), (5, b"e")], pod="train-0", rank=0)
            second = make_stream([(2, b"b"), (4, b"d"), (record(4, b"gone", kind=b"g"))], pod="train-1", rank=1)
            return first, second

        first, second = await database_sync_to_async(rows)()
        socket, _ = await watch("tail=5")

        assert await socket.hear(5) == {
            "type": "streams",
            "streams": [
                {"id": first.pk, "pod": "train-0", "container": "main", "rank": 0, "restart": 0, "attempt": 1},
                {"id": second.pk, "pod": "train-1", "container": "main", "rank": 1, "restart": 0, "attempt": 1},
            ],
        }
        lines, _ = await read_lines(socket, 5)
        assert [line["m"] for line in lines] == ["b", "c", "d", "gone", "e"]
        assert lines[0] == {"s": second.pk, "n": 0, "t": stamp(2).decode(), "m": "b"}
        assert lines[3]["k"] == "gap"

    @pytest.mark.parametrize("seed", range(4))
    async def test_there_is_no_seam_under_a_writer(self, watch, job, make_stream, seed, hot_redis):
        """Two streams are written while viewers come, some batches are never announced, Redis is emptied on the way."""
        chance = random.Random(seed)
        rows = [await database_sync_to_async(make_stream)(pod=f"train-{i}", rank=i) for i in range(2)]
        writers = [Writer(row, job) for row in rows]

        async def write():
            for turn in range(60):
                writer = chance.choice(writers)
                number = chance.choice([1, 1, 5, 40])
                first = writer.file.lines
                lines = [record(turn, b"%d" % (first + i), i) for i in range(number)]
                await writer.write(lines, announce=chance.random() > 0.1)
                if chance.random() < 0.1:
                    await writer.record()
                if turn == 30:
                    for key in hot_redis.scan_iter(f"{hot.settings.CUBE_REDIS_PREFIX}:*"):
                        hot_redis.delete(key)
                await asyncio.sleep(chance.random() * 0.01)
            await writers[0].record(is_complete=True)
            writers[0].file.close()
            await writers[0].client.aclose()
            await writers[1].end(job)

        writing = asyncio.create_task(write())
        sockets = []
        for _ in range(4):
            sockets.append((await watch("tail=10000"))[0])
            await asyncio.sleep(chance.random() * 0.15)
        results = [await read_to_end(socket) for socket in sockets]
        await writing

        for lines, _ in results:
            for row, writer in zip(rows, writers, strict=True):
                own = [line for line in lines if line["s"] == row.pk]
                assert [line["n"] for line in own] == list(range(writer.file.lines))
                assert [line["m"] for line in own] == [str(i) for i in range(writer.file.lines)]

    async def test_a_viewer_that_returns_gets_what_it_missed_and_nothing_twice(self, watch, job, make_stream):
        row = await database_sync_to_async(make_stream)([(i, b"%d" % i) for i in range(10)])
        socket, _ = await watch("resume=1")
        assert (await socket.hear(5))["type"] == "streams"
        assert await socket.receive_nothing(timeout=0.1)

        await socket.say({"type": "resume", "cursors": {str(row.pk): 7}})
        lines, _ = await read_lines(socket, 3)
        writer = Writer(row, job)
        await writer.write([record(20, b"live")])
        live, _ = await read_lines(socket, 1)

        assert [line["n"] for line in lines + live] == [7, 8, 9, 10]
        writer.file.close()

    async def test_older_lines_come_in_front(self, watch, make_stream):
        row = await database_sync_to_async(make_stream)([(i, b"%d" % i) for i in range(100)])
        socket, _ = await watch("tail=10")
        await read_lines(socket, 10)

        await socket.say({"type": "before", "cursors": {str(row.pk): 90}, "count": 30})
        older = await socket.hear(5)
        await socket.send_input({"type": "websocket.receive", "text": '{"type":"before","count":500}'})
        rest = await socket.hear(5)

        assert (older["type"], older["more"], [line["n"] for line in older["lines"]]) == (
            "older",
            True,
            [*range(60, 90)],
        )
        assert (rest["more"], [line["n"] for line in rest["lines"]]) == (False, [*range(60)])

    async def test_latest_starts_over_at_the_tail(self, watch, make_stream):
        await database_sync_to_async(make_stream)([(i, b"%d" % i) for i in range(100)])
        socket, _ = await watch("tail=10")
        await read_lines(socket, 10)

        await socket.send_input({"type": "websocket.receive", "text": '{"type":"latest","count":3}'})

        lines, others = await read_lines(socket, 3)
        assert [line["n"] for line in lines] == [97, 98, 99]
        assert others == [{"type": "reset"}]

    async def test_the_end_is_told_once_and_older_lines_can_still_be_asked_for(self, watch, job, make_stream):
        row = await database_sync_to_async(make_stream)([(1, b"one"), (2, b"two")])
        await Writer(row, job).end(job)
        socket, _ = await watch("tail=1")

        lines, others = await read_to_end(socket)
        await socket.say({"type": "before", "count": 5})
        older = await socket.hear(5)

        assert [line["m"] for line in lines] == ["two"]
        assert others == ["streams", "end"]
        assert [line["m"] for line in older["lines"]] == ["one"]
        assert await socket.receive_nothing(timeout=0.2)

    async def test_a_very_long_line_is_cut_and_says_so(self, watch, job, make_stream):
        row = await database_sync_to_async(make_stream)([(1, b"x" * 100_000)])
        socket, _ = await watch()
        (old,), _ = await read_lines(socket, 1)
        writer = Writer(row, job)
        await writer.write([record(2, b"y" * 200_000)])
        (live,), _ = await read_lines(socket, 1)
        writer.file.close()

        assert (old["m"], old["x"]) == ("x" * 16384, 100_000)
        assert (live["m"], live["x"]) == ("y" * 16384, 200_000)


class TestSlowViewers:
    async def test_a_full_queue_lags_and_catches_up_from_the_store(self, job, make_stream, hot_redis):
        row = await database_sync_to_async(make_stream)([(0, b"0")])
        slow, fast = [await hub.current().join(job.pk, job.uid) for _ in range(2)]
        slow_view, fast_view = Viewing(slow), Viewing(fast)
        for view in (slow_view, fast_view):
            await view.open_at_tail(1)
        writer = Writer(row, job)
        got = []
        for turn in range(40):
            first = writer.file.lines
            await writer.write([record(turn, b"%06d" % (first + i) + b"x" * 4000) for i in range(20)])
            while fast_view.seen[row.pk] < writer.file.lines:
                await asyncio.wait_for(fast.some.wait(), 5)
                fast.some.clear()
                got += fast_view.take()
                assert not fast.missed

        assert [piece.ordinal for piece in got] == list(range(1, 801))
        assert slow.missed
        assert slow._bytes <= hub.QUEUE_BYTES
        lines = [piece.ordinal for piece in slow_view.take()]
        async for page in slow_view.catch_up():
            lines += [line.ordinal for line in page]
        assert lines == list(range(1, 801))
        for client in (slow, fast):
            await hub.current().leave(client)
        writer.file.close()
        await writer.client.aclose()

    async def test_everything_is_let_go_with_the_last_viewer(self, job, hot_redis):
        client = await hub.current().join(job.pk, job.uid)
        assert len(hub.current()._tasks) == 2

        await hub.current().leave(client)

        assert (hub.current()._tasks, hub.current()._feeds) == ([], {})

    async def test_without_redis_the_store_is_read_every_few_seconds(self, watch, job, make_stream, settings):
        settings.CUBE_REDIS_URL = "redis://127.0.0.1:1/0"
        row = await database_sync_to_async(make_stream)([(1, b"one")])
        socket, _ = await watch()
        await read_lines(socket, 1)
        settings.CUBE_REDIS_URL = "redis://127.0.0.1:1/0"
        writer = Writer(row, job)
        await writer.write([record(2, b"two")], announce=False)
        await writer.record()

        lines, _ = await read_lines(socket, 1)

        assert [line["m"] for line in lines] == ["two"]
        writer.file.close()

    async def test_a_killed_redis_is_met_again_and_nothing_is_missing(
        self, watch, job, make_stream, settings, monkeypatch
    ):
        monkeypatch.setattr(hub, "LOOK_SECONDS", 60)  # Only the hot path may bring the lines.
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "s"
            server = start_valkey(path)
            settings.CUBE_REDIS_URL = f"unix://{path}"
            row = await database_sync_to_async(make_stream)([(1, b"one")])
            socket, _ = await watch()
            lines, _ = await read_lines(socket, 1)
            publisher = hot.Publisher()
            file = store.Appender(row.source)

            def write(text):
                file.append([record(2, text)])
                publisher.offer(job.uid, encode(row.pk, file.lines - 1, [record(2, text)]))

            write(b"two")
            lines += (await read_lines(socket, 1))[0]
            server.kill()
            server.wait()
            write(b"while away")
            await asyncio.sleep(0.3)
            server = start_valkey(path)  # empty: it kept nothing
            write(b"back")
            lines += (await read_lines(socket, 2))[0]
            await publisher.close()
            file.close()
            server.kill()
            server.wait()

        assert [line["m"] for line in lines] == ["one", "two", "while away", "back"]


class TestPublisher:
    async def test_sends_in_order_and_expires(self, job, hot_redis):
        publisher = hot.Publisher()
        for i in range(500):
            publisher.offer(job.uid, encode(1, i, [record(1, b"%d" % i)]))
        await publisher.close()

        entries = hot_redis.xrange(hot.key_of(job.uid))

        assert [decode(fields[b"b"]).first for _, fields in entries] == list(range(500))
        assert 0 < hot_redis.ttl(hot.key_of(job.uid)) <= hot.EXPIRE_SECONDS

    async def test_redis_away_costs_bounded_memory(self, settings, job):
        settings.CUBE_REDIS_URL = "redis://127.0.0.1:1/0"
        publisher = hot.Publisher()
        for i in range(300):
            publisher.offer(job.uid, encode(1, i, [record(1, b"x" * 16000) for _ in range(4)]))

        assert publisher._bytes <= hot.QUEUED_BYTES
        assert publisher.dropped > 0
        await publisher.close()


class TestFrames:
    def test_are_valid_json_of_at_most_64_kib(self):
        batch = decode(encode(3, 10, [record(1, b"%d" % i + b'"<\x00\xff' * 500) for i in range(100)]))

        sent = [*frames(batch.pieces)]

        assert len(sent) > 3
        assert max(len(each.encode()) for each in sent) < 66 * 1024
        lines = [line for each in sent for line in orjson.loads(each)["lines"]]
        assert [line["n"] for line in lines] == list(range(10, 110))

    def test_order_is_time_between_streams_and_ordinal_within(self):
        one = decode(encode(1, 0, [record(5, b"a"), record(1, b"b")])).pieces
        two = decode(encode(2, 0, [record(2, b"c"), record(9, b"d")])).pieces

        assert [orjson.loads(piece.data)["m"] for piece in in_order(two + one)] == ["c", "a", "b", "d"]
