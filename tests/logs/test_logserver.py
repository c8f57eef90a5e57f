"""The benchmark's log server keeps and forgets as Kubernetes does: what is measured against it is worth what it is."""

import asyncio
import contextlib
import re

import orjson
import pytest
from aiohttp import ClientError
from aiohttp.test_utils import TestClient, TestServer

from tests.bench.logs.compare import GAP, Stored, compare
from tests.bench.logserver.app import LogServer
from tests.bench.logserver.files import Reader, Run
from tests.bench.logserver.lines import render, render_block
from tests.bench.logserver.rules import Rules

LOG = "/api/v1/namespaces/default/pods/w-0/log"


@pytest.fixture
async def server():
    client = TestClient(TestServer(LogServer().app))
    await client.start_server()

    async def bench(verb, **arguments):
        answer = await client.post(f"/bench/{verb}", data=orjson.dumps(arguments))
        assert answer.status == 200, await answer.text()
        return await answer.json() if answer.content_type == "application/json" else await answer.read()

    client.bench = bench
    yield client
    await client.close()


@pytest.fixture
async def pod(server):
    made = await server.bench("pods", namespace="default", names=["w-0"], labels={"app": "w"})
    return made["w-0"]


async def read(server, **query):
    answer = await server.get(LOG, params={"timestamps": "true", **query})
    return answer.status, await answer.read()


def numbers(body):
    return [int(found) for found in re.findall(rb" seq=(\d{9}) ", body)]


def at(second, number, nanosecond=0):
    return b"2026-11-24T02:00:%02d.%09dZ seq=%09d \n" % (second, nanosecond, number)


class TestLines:
    def test_are_numbered_and_119_bytes_long(self):
        lines = (render(5, 3) + render_block(2)).splitlines(keepends=True)

        assert {len(line) for line in lines} == {119}
        assert [int(line[35:44]) for line in lines] == [5, 6, 7, *range(2000, 3000)]
        assert len({line[:30] for line in lines}) == 1003

    def test_of_a_burst_may_share_their_stamp(self):
        lines = render(0, 500, same_stamp=True).splitlines()

        assert (len(set(lines)), len({line[:30] for line in lines})) == (500, 1)


class TestReader:
    def test_whole_second_and_later_only(self):
        run = Run(Rules())
        run.write(at(1, 0, 999_999_999) + at(2, 1) + at(2, 2, 5))
        run.write(at(3, 3))

        assert numbers(Reader(run, since=b"2026-11-24T02:00:02.000000000Z").take().data) == [1, 2, 3]

    def test_a_reader_that_is_blocked_over_two_rotations_skips_the_file_between(self):
        run = Run(Rules())
        run.write(at(1, 0))
        reader = Reader(run)
        assert numbers(reader.take().data) == [0]
        run.write(at(1, 1))
        run.rotate()
        run.write(at(2, 2))
        run.rotate()
        run.write(at(3, 3))

        assert [numbers(reader.take().data), numbers(reader.take().data), reader.take()] == [[1], [3], None]

    def test_a_new_reader_sees_the_newest_file_only(self):
        run = Run(Rules())
        run.write(at(1, 0))
        run.rotate()
        run.write(at(2, 1))

        assert numbers(Reader(run).take().data) == [1]
        assert Reader(run, tail=5).take().data == at(2, 1)

    def test_tail_counts_lines_across_writings(self):
        run = Run(Rules())
        run.write(at(1, 0) + at(1, 1))
        run.write(at(2, 2))

        assert numbers(Reader(run, tail=2).take().data) == [1, 2]

    def test_the_ledger_knows_what_was_handed_over(self):
        run = Run(Rules())
        run.ledger.deliver(0, 5)
        run.ledger.deliver(5, 2)
        run.ledger.deliver(9, 1)
        run.ledger.deliver(8, 0)

        assert run.ledger.delivered == [[0, 7], [9, 10]]


class TestAnswers:
    async def test_since_time_is_cut_to_its_second(self, server, pod):
        await server.bench("text", pod="w-0", lines=["one", "two"])
        (stamp, *_), body = (await read(server))[1].split(b" ", 1), (await read(server))[1]
        late = stamp[:20].decode() + "999999999Z"

        assert await read(server, sinceTime=late) == (200, body)
        assert await read(server, sinceTime="2099-01-01T00:00:00Z") == (200, b"")

    async def test_previous_is_the_last_dead_instance_and_no_other(self, server, pod):
        assert (await read(server, previous="true"))[0] == 400
        for text in ("first", "second", "third"):
            await server.bench("text", pod="w-0", lines=[text])
            await server.bench("restart", pod="w-0")

        assert (await read(server, previous="true"))[1].split(b" ", 1)[1] == b"third\n"
        assert (await read(server))[1] == b""
        oracle = await server.bench("oracle")
        assert [(run["restart"], run["lines"]) for run in oracle] == [(0, 1), (1, 1), (2, 1), (3, 0)]
        assert (await server.bench("written", uid=pod, restart=1)).endswith(b" second\n")

    async def test_a_deleted_pod_is_gone_at_once_and_its_name_is_free(self, server, pod):
        await server.bench("text", pod="w-0", lines=["old"])
        await server.bench("delete", pod="w-0")
        status, body = await read(server)
        assert (status, orjson.loads(body)["reason"]) == (404, "NotFound")

        again = await server.bench("pods", namespace="default", names=["w-0"], labels={})

        assert again["w-0"] != pod
        assert await read(server) == (200, b"")

    async def test_a_node_without_inotify_instances_serves_plain_reads_and_ends_follows(self, server, pod):
        await server.bench("rules", follows_per_node=1)
        await server.bench("pods", namespace="default", names=["w-1"], labels={})
        first = await server.get(LOG, params={"follow": "true"})
        await asyncio.sleep(0.05)
        status, body = await read(server, follow="true")
        assert (status, orjson.loads(body)["message"]) == (
            400,
            "failed to create fsnotify watcher: too many open files",
        )

        await server.bench("text", pod="w-0", lines=["here"])

        assert (await read(server))[1].endswith(b" here\n")
        assert (await read(server, follow="true"))[1].endswith(
            b" here\nfailed to create fsnotify watcher: too many open files"
        )
        first.close()

    async def test_a_follow_ends_after_its_time_however_busy_it_is(self, server, pod):
        await server.bench("rules", cut_after=0.3)
        await server.bench("write", rate=1000)

        async with asyncio.timeout(5):
            answer = await server.get(LOG, params={"follow": "true", "timestamps": "true"})
            body = b""
            with contextlib.suppress(ClientError):  # A reset is one of its ways.
                async for chunk in answer.content.iter_any():
                    body += chunk

        assert (await server.bench("stats"))["cuts"] == 1
        assert numbers(body) == list(range(len(numbers(body))))

    async def test_too_many_requests_are_refused(self, server, pod):
        await server.bench("rules", requests_per_second=0.001)
        answers = [(await read(server))[0] for _ in range(205)]

        assert answers == [200] * 200 + [429] * 5

    async def test_a_watch_tells_what_became_of_pods_and_expires(self, server, pod):
        listed = await (await server.get("/api/v1/pods", params={"labelSelector": "app=w"})).json()
        version = listed["metadata"]["resourceVersion"]
        await server.bench("restart", pod="w-0")
        await server.bench("delete", pod="w-0")

        query = {"watch": "true", "resourceVersion": version, "timeoutSeconds": "1"}
        events = [orjson.loads(line) async for line in (await server.get("/api/v1/pods", params=query)).content]

        told = [event["type"] for event in events if event["type"] != "BOOKMARK"]
        assert [pod["metadata"]["name"] for pod in listed["items"]] == ["w-0"]
        assert told == ["MODIFIED", "MODIFIED", "MODIFIED", "DELETED"]
        assert events[0]["object"]["status"]["containerStatuses"][0]["restartCount"] == 1
        await server.bench("rules", events_kept=1)
        await server.bench("pods", namespace="default", names=["w-2"], labels={})
        expired = [orjson.loads(line) async for line in (await server.get("/api/v1/pods", params=query)).content]
        assert [(each["type"], each["object"].get("code")) for each in expired] == [("ERROR", 410)]

    async def test_a_clock_that_is_set_back_gives_earlier_stamps(self, server, pod):
        await server.bench("write", lines=1)
        await server.bench("clock", node="node-0", step_back=3600)
        await server.bench("write", lines=1)

        first, second = (await read(server))[1].splitlines()

        assert second[:30] < first[:30]
        assert numbers(first + second) == [0, 1]


class TestCompare:
    WRITTEN = [b"%d" % number for number in range(6)]

    def lines(self, text):
        return [Stored(GAP, b"") if each == "g" else Stored(b" ", each.encode()) for each in text.split()]

    def test_what_is_the_same_is_exact(self):
        verdict = compare(self.WRITTEN, self.lines("0 1 2 3 4 5"))

        assert (verdict.is_exact, verdict.is_honest, verdict.stored) == (True, True, 6)

    @pytest.mark.parametrize(
        ("stored", "missing", "silent", "doubled", "disordered", "foreign"),
        [
            ("0 1 3 4 5", 1, 1, 0, 0, 0),
            ("0 1 g 3 4 5", 1, 0, 0, 0, 0),
            ("0 g 1 3 4 5", 1, 1, 0, 0, 0),
            ("0 1 2 g", 3, 0, 0, 0, 0),
            ("g 4 5", 4, 0, 0, 0, 0),
            ("0 1 2", 3, 3, 0, 0, 0),
            ("0 1 1 2 3 4 5", 0, 0, 1, 0, 0),
            ("0 2 1 3 4 5", 0, 0, 0, 1, 0),
            ("0 1 2 3 4 5 x", 0, 0, 0, 0, 1),
        ],
    )
    def test_tells_every_kind_of_wrong(self, stored, missing, silent, doubled, disordered, foreign):
        verdict = compare(self.WRITTEN, self.lines(stored))

        found = (verdict.missing, verdict.silent, verdict.doubled, verdict.disordered, verdict.foreign)
        assert found == (missing, silent, doubled, disordered, foreign)
        assert not verdict.is_exact

    def test_what_was_handed_over_must_not_be_missing(self):
        verdict = compare(self.WRITTEN, self.lines("0 1 g 4 5"), delivered=[[0, 3]])

        assert (verdict.missing, verdict.silent, verdict.withheld, verdict.is_honest) == (2, 0, 1, False)
