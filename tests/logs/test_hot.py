"""The hot tail: in order, bounded, and met again after Redis was killed."""

import tempfile
from pathlib import Path

import orjson
import pytest
from channels.db import database_sync_to_async
from channels.routing import URLRouter

from apps.logs import hot, hub
from apps.logs.framing import frames
from apps.logs.routing import websocket_urlpatterns
from tests.sockets import Socket

from .conftest import record, start_valkey, write
from .test_viewers import read_lines

pytestmark = pytest.mark.django_db(transaction=True)


def payload(stream, first, *records, epoch=1):
    return hot.encode(stream, epoch, first, len(records), b"".join(each.encode() for each in records))


class TestPublisher:
    async def test_sends_in_order_and_expires(self, job, hot_redis):
        publisher = hot.Publisher()
        for i in range(500):
            publisher.offer(job.uid, payload(1, i, record(1, b"%d" % i)))
        await publisher.close()

        entries = hot_redis.xrange(hot.key_of(job.uid))

        assert [batch.first for _, fields in entries for batch in hot.decode(fields[b"b"])] == list(range(500))
        assert len(entries) < 100
        assert 0 < hot_redis.ttl(hot.key_of(job.uid)) <= hot.EXPIRE_SECONDS

    async def test_redis_away_costs_bounded_memory(self, settings, job):
        settings.CUBE_REDIS_URL = "redis://127.0.0.1:1/0"
        publisher = hot.Publisher()
        for i in range(300):
            publisher.offer(job.uid, payload(1, i, *[record(1, b"x" * 16000)] * 4))

        assert publisher._bytes <= hot.QUEUED_BYTES
        assert publisher.dropped > 0
        await publisher.close()


class TestFrames:
    def test_are_valid_json_of_at_most_64_kib(self):
        (batch,) = hot.decode(payload(3, 10, *[record(1, b"%d" % i + b'"<\x00\xff' * 500) for i in range(100)]))

        sent = [*frames(piece.data for piece in batch.pieces)]

        assert len(sent) > 3
        assert max(len(each.encode()) for each in sent) < 66 * 1024
        lines = [line for each in sent for line in orjson.loads(each)["lines"]]
        assert [line["n"] for line in lines] == list(range(10, 110))


class TestKilledRedis:
    async def test_is_met_again_and_nothing_is_missing(self, job, viewer, make_stream, settings, monkeypatch):
        monkeypatch.setattr(hub, "BUSY_SECONDS", 0.1)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "s"
            server = start_valkey(path)
            settings.CUBE_REDIS_URL = f"unix://{path}"
            row = await database_sync_to_async(make_stream)([(1, b"one")])
            socket = Socket(URLRouter(websocket_urlpatterns), f"/ws/jobs/{job.uid}/logs/", viewer)
            await socket.connect(timeout=5)
            lines, _ = await read_lines(socket, 1)
            publisher = hot.Publisher()

            async def say(text):
                publisher.offer(job.uid, payload(row.pk, row.line_count, record(2, text), epoch=row.epoch))
                await database_sync_to_async(write)(row, [record(2, text)])

            await say(b"two")
            lines += (await read_lines(socket, 1))[0]
            server.kill()
            server.wait()
            await say(b"while away")
            server = start_valkey(path)  # empty: it kept nothing
            await say(b"back")
            lines += (await read_lines(socket, 2))[0]
            await socket.leave()
            await publisher.close()
            server.kill()
            server.wait()

        assert [line["m"] for line in lines] == ["one", "two", "while away", "back"]
