# ruff: noqa: S311
"""The socket: history and then live without a seam, each line once, for fast and slow viewers alike."""

import asyncio
import copy
import random

import pytest
from channels.db import database_sync_to_async
from channels.routing import URLRouter
from django.contrib.auth.models import AnonymousUser

from apps.logs import broadcasting, consumers, feeds, hot, hub, viewing
from apps.logs.routing import websocket_urlpatterns
from tests.sockets import Socket

from .conftest import record, stamp
from .writers import Writer

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _hurry(monkeypatch):
    monkeypatch.setattr(broadcasting, "WINDOW_SECONDS", 0.02)
    monkeypatch.setattr(hub, "LOOK_SECONDS", 0.3)
    monkeypatch.setattr(hub, "BUSY_SECONDS", 0.1)
    monkeypatch.setattr(hub, "HOLE_SECONDS", 0.05)
    monkeypatch.setattr(consumers, "AGAIN_SECONDS", 0.05)


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

        common = {"container": "main", "restart": 0, "attempt": 1}
        assert await socket.hear(5) == {
            "type": "streams",
            "streams": [
                {**common, "id": first.pk, "pod": "train-0", "rank": 0, "lines": 3},
                {**common, "id": second.pk, "pod": "train-1", "rank": 1, "lines": 3},
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
                lines = [record(turn, b"%d" % (writer.next + i), i) for i in range(number)]
                await writer.write(lines, announce=chance.random() > 0.1, commit=chance.random() < 0.2)
                if turn == 30:
                    for key in hot_redis.scan_iter(f"{hot.settings.CUBE_REDIS_PREFIX}:*"):
                        hot_redis.delete(key)
                await asyncio.sleep(chance.random() * 0.01)
            await writers[0].end(is_last=False)
            await writers[1].end()

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
                assert [line["n"] for line in own] == list(range(writer.next))
                assert [line["m"] for line in own] == [str(i) for i in range(writer.next)]

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

        assert await socket.hear(5) == {"type": "reset", "id": None}
        window = await socket.hear(5)
        assert [line["n"] for line in window.pop("lines")] == [97, 98, 99]
        assert window == {"type": "window", "id": None, "before": True, "after": False, "focus": None}

    async def test_the_end_is_told_once_and_older_lines_can_still_be_asked_for(self, watch, job, make_stream):
        row = await database_sync_to_async(make_stream)([(1, b"one"), (2, b"two")])
        await Writer(row, job).end()
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

        assert (old["m"], old["x"]) == ("x" * 4096, 100_000 - 4096)
        assert (live["m"], live["x"]) == ("y" * 4096, 200_000 - 4096)


async def rows_after_rewind(socket, row, rows, number):
    """What a browser shows once it was told to drop rows and has `number` of them again."""
    message = await socket.hear(5)
    assert (message["type"], message["s"]) == ("rewind", row.pk)
    rows = {ordinal: text for ordinal, text in rows.items() if ordinal < message["to"]}
    lines, others = await read_lines(socket, number - len(rows))
    assert others == []
    for line in lines:
        assert line["n"] not in rows
        rows[line["n"]] = line["m"]
    return rows


class TestTakenBack:
    async def test_what_was_announced_and_never_stored_is_told_again(self, watch, job, make_stream):
        row = await database_sync_to_async(make_stream)([(1, b"kept")])
        socket, _ = await watch()
        await read_lines(socket, 1)
        writer = Writer(row, job)
        await writer.write([record(2, b"also kept")])
        await writer.write([record(3, b"lost"), record(4, b"lost too")], commit=False)
        await read_lines(socket, 3)

        await writer.crash()
        await writer.write([record(3, b"found"), record(5, b"new")])

        assert await rows_after_rewind(socket, row, {0: "kept", 1: "also kept", 2: "lost", 3: "lost too"}, 4) == {
            0: "kept",
            1: "also kept",
            2: "found",
            3: "new",
        }

    async def test_also_when_only_the_rows_tell(self, watch, job, make_stream, monkeypatch):
        row = await database_sync_to_async(make_stream)([(1, b"kept")])
        socket, _ = await watch()
        await read_lines(socket, 1)
        writer = Writer(row, job)
        await writer.write([record(3, b"lost")], commit=False)
        await read_lines(socket, 1)

        await writer.crash()
        await writer.write([record(3, b"found"), record(5, b"new")], announce=False)

        assert await rows_after_rewind(socket, row, {0: "kept", 1: "lost"}, 3) == {0: "kept", 1: "found", 2: "new"}

    async def test_a_dead_collector_s_last_words_are_ignored(self, watch, job, make_stream):
        row = await database_sync_to_async(make_stream)([(1, b"kept")])
        socket, _ = await watch()
        await read_lines(socket, 1)
        new, old = Writer(row, job), Writer(copy.copy(row), job)
        await new.crash()
        await new.write([record(2, b"right")])
        await read_lines(socket, 1)

        await old.announce(2, [record(3, b"wrong")])
        await new.write([record(4, b"right too")])

        lines, _ = await read_lines(socket, 1)
        assert [(line["n"], line["m"]) for line in lines] == [(2, "right too")]

    async def test_a_viewer_that_returns_drops_what_it_should_not_have(self, watch, job, make_stream):
        row = await database_sync_to_async(make_stream)([(1, b"kept")])
        socket, _ = await watch("resume=1")
        await socket.hear(5)

        await socket.say({"type": "resume", "cursors": {str(row.pk): 9}})

        assert await socket.hear(5) == {"type": "rewind", "s": row.pk, "to": 1}


class TestHoles:
    async def test_lines_announced_before_the_viewer_came_are_not_waited_for(self, watch, job, make_stream):
        row = await database_sync_to_async(make_stream)([(1, b"stored")])
        writer = Writer(row, job)
        await writer.write([record(2, b"announced")], commit=False)

        socket, _ = await watch()

        lines, _ = await read_lines(socket, 2)
        assert [line["m"] for line in lines] == ["stored", "announced"]

    async def test_what_lies_beyond_a_hole_waits_for_the_store(self, watch, job, make_stream):
        row = await database_sync_to_async(make_stream)([(1, b"0")])
        socket, _ = await watch()
        await read_lines(socket, 1)
        writer = Writer(row, job)
        await writer.write([record(2, b"1")], announce=False, commit=False)
        await writer.write([record(3, b"2")], commit=False)
        assert await socket.receive_nothing(timeout=0.2)

        await writer.commit()

        lines, _ = await read_lines(socket, 2)
        assert [line["m"] for line in lines] == ["1", "2"]

    async def test_a_hole_too_big_to_read_at_once_is_read_by_each_viewer(self, watch, job, make_stream, monkeypatch):
        monkeypatch.setattr(feeds, "FILL_LINES", 10)
        row = await database_sync_to_async(make_stream)([(1, b"0")])
        sockets = [(await watch())[0] for _ in range(2)]
        for socket in sockets:
            await read_lines(socket, 1)
        writer = Writer(row, job)
        await writer.write([record(2, b"%d" % i) for i in range(1, 300)], announce=False)
        await writer.write([record(3, b"300")])

        for socket in sockets:
            lines, _ = await read_lines(socket, 300)
            assert [line["n"] for line in lines] == list(range(1, 301))

    async def test_a_new_pod_is_told_before_its_lines(self, watch, job, make_stream):
        first = await database_sync_to_async(make_stream)([(1, b"a")], pod="train-0", rank=0)
        socket, _ = await watch()
        await read_lines(socket, 1)
        second = await database_sync_to_async(make_stream)([], pod="train-1", rank=1)

        await Writer(second, job).write([record(2, b"b")], commit=False)

        told = await socket.hear(5)
        assert [stream["id"] for stream in told["streams"]] == [first.pk, second.pk]
        assert [line["m"] for line in (await read_lines(socket, 1))[0]] == ["b"]


class TestSlowViewers:
    async def test_one_that_does_not_read_lags_and_loses_nothing(self, watch, job, make_stream, monkeypatch):
        """Its frames are let go; nobody waits for it."""
        monkeypatch.setattr(broadcasting, "RING_BYTES", 20_000)
        monkeypatch.setattr(viewing, "MUCH_LINES", 10)
        row = await database_sync_to_async(make_stream)([(0, b"0")])
        gate = first_consumer_waits(monkeypatch)
        slow, _ = await watch()
        await read_lines(slow, 1)
        fast, _ = await watch()
        await read_lines(fast, 1)
        gate.clear()
        writer = Writer(row, job)
        got = []
        for turn in range(40):
            await writer.write([record(turn, b"%06d" % (writer.next + i) + b"x" * 100) for i in range(20)])
            got += (await read_lines(fast, 20))[0]
        gate.set()
        lines, others = await read_lines(slow, 800)

        assert [line["n"] for line in got] == list(range(1, 801))
        assert [line["n"] for line in lines] == list(range(1, 801))
        assert "lag" in {each["type"] for each in others}

    async def test_everything_is_let_go_with_the_last_viewer(self, job, hot_redis):
        async with hub.current().watching(job.pk, job.uid):
            assert len(hub.current()._tasks) == 2

        assert (hub.current()._tasks, hub.current()._feeds) == ([], {})

    async def test_without_redis_the_store_is_read(self, watch, job, make_stream, settings):
        settings.CUBE_REDIS_URL = "redis://127.0.0.1:1/0"
        row = await database_sync_to_async(make_stream)([(1, b"one")])
        socket, _ = await watch()
        await read_lines(socket, 1)
        await Writer(row, job).write([record(2, b"two")], announce=False)

        lines, _ = await read_lines(socket, 1)

        assert [line["m"] for line in lines] == ["two"]


def first_consumer_waits(monkeypatch):
    """A gate for the first consumer that sends anything: closed, it is one whose client reads nothing."""
    gate, who = asyncio.Event(), []
    gate.set()
    send = consumers.JobLogsConsumer.send

    async def gated(self, text_data=None, *args, **kwargs):
        who.append(self)
        if self is who[0]:
            await gate.wait()
        await send(self, text_data, *args, **kwargs)

    monkeypatch.setattr(consumers.JobLogsConsumer, "send", gated)
    return gate


class TestWishes:
    """What a viewer may ask for; `LogStream` 1 has even numbers, the other odd ones."""

    @pytest.fixture
    async def pods(self, make_stream):
        def make():
            one = make_stream([(i, b"%d" % i) for i in range(0, 40, 2)], pod="train-0", rank=0)
            two = make_stream([(i, b"%d" % i) for i in range(1, 40, 2)], pod="train-1", rank=1)
            return one, two

        return await database_sync_to_async(make)()

    async def ask(self, socket, wish):
        """The answer to a wish; lines that come by themselves are passed over."""
        await socket.say(wish)
        while (message := await socket.hear(5))["type"] in ("lines", "streams", "reset"):
            pass
        return message

    async def test_a_part_of_the_log_then_on_to_the_end_where_it_is_live_again(self, watch, job, pods):
        socket, _ = await watch("tail=1")
        window = await self.ask(socket, {"type": "show", "id": 7, "at": {"line": [pods[0].pk, 15]}, "count": 4})
        assert (window["id"], window["focus"], window["before"], window["after"]) == (7, [pods[0].pk, 15], True, True)
        assert [line["m"] for line in window["lines"]] == ["28", "29", "30", "31"]

        writer = Writer(pods[0], job)
        await writer.write([record(50, b"live")])
        assert await socket.receive_nothing(timeout=0.3)
        more = await self.ask(socket, {"type": "after", "cursors": {str(pods[0].pk): 16}, "count": 5})
        rest = await self.ask(socket, {"type": "after", "cursors": {str(pods[0].pk): 18, str(pods[1].pk): 18}})
        await writer.write([record(51, b"live too")])

        assert ([line["m"] for line in more["lines"]], more["more"]) == (["31", "32", "33", "34", "35"], True)
        assert ([line["m"] for line in rest["lines"]], rest["more"]) == (["36", "37", "38", "39", "live"], False)
        assert [line["m"] for line in (await read_lines(socket, 1))[0]] == ["live too"]

    async def test_a_filter_holds_for_history_and_for_what_comes(self, watch, job, pods):
        socket, _ = await watch("tail=1")
        chosen = {"ranks": [1], "text": "^3.$|live", "regex": True}
        window = await self.ask(socket, {"type": "show", "id": 1, "filter": chosen, "at": {"tail": True}, "count": 3})
        assert [line["m"] for line in window["lines"]] == ["35", "37", "39"]

        one, two = Writer(pods[0], job), Writer(pods[1], job)
        await one.write([record(50, b"live but not chosen")])
        await two.write([record(50, b"no"), record(51, b"live")])

        assert [line["m"] for line in (await read_lines(socket, 1))[0]] == ["live"]

    @pytest.mark.parametrize(
        ("at", "expected"),
        [({"head": True}, ["0", "1"]), ({"tail": True}, ["38", "39"]), ({"time": stamp(5).decode()}, ["4", "5"])],
    )
    async def test_other_places(self, watch, pods, at, expected):
        socket, _ = await watch("tail=0")

        window = await self.ask(socket, {"type": "show", "id": 1, "at": at, "count": 2})

        assert [line["m"] for line in window["lines"]] == expected

    async def test_finding_and_a_whole_line(self, watch, job, pods):
        writer = Writer(pods[0], job)
        await writer.write([record(60, b"needle " + b"x" * 9000)], commit=False)
        socket, _ = await watch("tail=1")
        await read_lines(socket, 1)

        found = await self.ask(socket, {"type": "find", "id": 3, "text": "NEEDLE", "direction": -1, "from": None})
        whole = await self.ask(socket, {"type": "whole", "line": [pods[0].pk, 20]})
        nothing = await self.ask(socket, {"type": "find", "id": 4, "text": "NEEDLE", "case": True})
        missing = await self.ask(socket, {"type": "whole", "line": [pods[0].pk, 999]})

        assert (found["id"], found["line"]["n"], found["line"]["x"], found["wrapped"]) == (3, 20, 9007 - 4096, False)
        assert whole == {"type": "whole", "s": pods[0].pk, "n": 20, "m": "needle " + "x" * 9000}
        assert nothing == {"type": "found", "id": 4, "wrapped": False, "line": None}
        assert missing["m"] is None

    @pytest.mark.parametrize(
        ("wish", "field"),
        [
            ({"type": "show", "id": 9, "filter": {"text": "(", "regex": True}}, "filter.regex"),
            ({"type": "show", "id": 9, "filter": {"text": "x" * 1001}}, "filter.text"),
            ({"type": "show", "id": 9, "filter": {"since": "yesterday"}}, "filter.since"),
            ({"type": "show", "id": 9, "at": {"time": "noon"}}, "at.time"),
            ({"type": "find", "id": 9, "text": ""}, "text"),
        ],
    )
    async def test_what_cannot_be_is_refused_and_the_rest_goes_on(self, watch, job, pods, wish, field):
        socket, _ = await watch("tail=1")
        await read_lines(socket, 1)

        refused = await self.ask(socket, wish)
        await Writer(pods[0], job).write([record(50, b"live")])

        assert (refused["type"], refused["id"], refused["field"]) == ("refused", 9, field)
        assert refused["message"]
        assert [line["m"] for line in (await read_lines(socket, 1))[0]] == ["live"]

    @pytest.mark.parametrize(
        "wish",
        [
            {"type": "show", "at": {}},
            {"type": "show", "at": {"line": [1]}},
            {"type": "show", "at": {"tail": 1}},
            {"type": "show", "filter": {"pods": "train-0"}},
            {"type": "show", "filter": {"pod": ["train-0"]}},
            {"type": "show", "filter": {"text": "\ud800"}},
            {"type": "show", "filter": {"attempt": True}},
            {"type": "show", "count": -1},
            {"type": "show", "id": 1 << 70},
            {"type": "find", "text": "x", "direction": 2},
            {"type": "find", "text": "x", "from": ["now"]},
            {"type": "find", "text": 5},
            {"type": "whole", "line": "1:2"},
            {"type": "before", "cursors": {"a": 1}},
            {"type": "resume", "cursors": [1]},
        ],
    )
    async def test_what_no_viewer_sends_ends_it(self, watch, pods, wish):
        socket, _ = await watch("tail=1")

        await socket.say(wish)

        assert await socket.closed(5) == 4400
