# ruff: noqa: S311
"""Exactness: whatever the node and the network do, each line is stored once, in order, or a gap row says so."""

import asyncio
import itertools
import random

import pytest
from asgiref.sync import sync_to_async

from apps.clusters.gateway import Forbidden
from apps.logs import following, hot, journal
from apps.logs.budget import Budget
from apps.logs.counters import Counters
from apps.logs.following import Desk, Follower, Pace, Pulse, Sight
from apps.logs.journal import Journal
from apps.logs.lines import gap_of, moment_of
from apps.logs.masking import Masker
from apps.logs.models import LogStream
from apps.logs.services import ContainerRun
from apps.logs.store import objects

from .conftest import Books, stamp
from .kubelet import Kubelet, Nobody

RUN = ContainerRun(namespace="cube-x", pod_name="train-0", pod_uid="uid", container="main", restart=0)
KEY = ("train-0", "main")


books: Books


@pytest.fixture(autouse=True)
def _books(monkeypatch):
    """The rows of one stream; its collector is in a hurry."""
    global books
    books = Books(LogStream(pk=5, pod_name="train-0", container="main"))
    monkeypatch.setattr(journal.services, "commit", books.commit)
    for module in (following, journal):  # Without a database there are no connections to look after.
        monkeypatch.setattr(module, "database_sync_to_async", sync_to_async)
    monkeypatch.setattr(following.selectors, "source_of", books.source_of)
    monkeypatch.setattr(following.selectors, "ends_with_gap", books.ends_with_gap)
    for name, value in {"SOON_SECONDS": 0.001, "DOUBT_SECONDS": 0.02, "LONGEST_BACK_OFF": 0.01}.items():
        monkeypatch.setattr(following, name, value)


def line(second, text, nanosecond=0):
    return stamp(second, nanosecond) + b" " + text + b"\n"


class Quick(Pace):
    seconds = 0


class Collecting:
    """A follower with a journal of its own. A row is opened anew, as every collector does."""

    def __init__(self, kubelet, sight=None, publisher=None):
        self.counters = Counters()
        self.journal = Journal(self.counters, commit_seconds=0.005)
        self.publisher, self.pulse = publisher or Nobody(), Pulse(60)
        budget = Budget(10_000, self.counters)
        desk = Desk(kubelet, self.journal, self.publisher, budget, self.counters, Quick(), self.pulse)
        books.row.epoch += 1
        row = LogStream(**{f.attname: getattr(books.row, f.attname) for f in LogStream._meta.concrete_fields})
        self.follower = Follower(desk=desk, sight=sight or Sight(RUN), row=row, job_uid="7", masker=Masker())

    async def run(self):
        commits = asyncio.create_task(self.journal.run())
        try:
            await self.follower.run()
        finally:
            commits.cancel()
            await asyncio.gather(commits, return_exceptions=True)


def follower(kubelet, sight=None, publisher=None):
    return Collecting(kubelet, sight, publisher)


def stored():
    return books.stored()


def said():
    """What the gap rows say."""
    return [gap_of(text).text for kind, text in stored() if kind == b"g"]


def texts():
    return [text for _, text in stored()]


async def until(condition, seconds=5):
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.003)


async def collect(kubelet, key=KEY, **sight):
    """Follow until complete; the container is dead from the start."""
    kubelet.dead.add(key)
    books.row.is_complete = False
    one = follower(kubelet, Sight(RUN, is_dead=True, **sight))
    async with asyncio.timeout(10):
        await one.run()
    return one


ODD = [
    b"",
    b"",
    b"\r 1%\r 2%\r",
    "日本語 ñ 🎉".encode(),
    b"same",
    b"same",
    b"\xff\xfe\x00",
    b" two  spaces ",
    b"x" * 5000,
    b"",
]


def written(number, *, per_second=7, same_stamp=3):
    """Lines of which several share a stamp, some share stamp and text, and the texts are odd."""
    return [
        line(i // per_second, ODD[i % len(ODD)] if i % 2 else b"%d" % i, (i % per_second) // same_stamp)
        for i in range(number)
    ]


def expected(lines):
    return [(b" ", each[31:-1]) for each in lines]


class TestCuts:
    @pytest.mark.parametrize(
        ("cut_lines", "chunk", "breaks"), [(5, None, False), (15, 3, False), (16, 11, True), (6, 1, True)]
    )
    async def test_a_follow_cut_every_few_lines_loses_and_doubles_nothing(self, cut_lines, chunk, breaks):
        """Up to two seconds are replayed (4 or 14 lines, some equal), so a cut soon after is a step of a few lines."""
        lines = written(150, per_second=2 if cut_lines < 9 else 7, same_stamp=2 if cut_lines < 9 else 3)
        kubelet = Kubelet(cut_lines=cut_lines, chunk=chunk, breaks=breaks)
        kubelet.files[KEY] = []
        sight = Sight(RUN)
        task = asyncio.create_task(follower(kubelet, sight).run())

        for each in lines:
            kubelet.files[KEY].append(each)
            await asyncio.sleep(0.001)
        await until(lambda: len(stored()) >= len(lines) - 20)
        kubelet.dead.add(KEY)
        sight.is_dead = True
        sight.changed.set()
        await asyncio.wait_for(task, 5)

        assert stored() == expected(lines)
        assert len(kubelet.requests) > 10

    async def test_a_second_full_of_equal_stamps_is_skipped_exactly(self):
        lines = [line(4, b"same") for _ in range(40)] + [line(4, b"same again"), line(4, b"same")]
        kubelet = Kubelet()
        for upto in (1, 7, 39, 40, 41, 42):
            kubelet.files[KEY] = lines[:upto]

            await collect(kubelet)

            assert stored() == expected(lines[:upto])

    async def test_neighbours_swapped_by_two_writers_keep_the_order_of_the_file(self):
        lines = [line(s, b"%d" % i) for i, s in enumerate([50, 51, 50, 52, 52, 51, 53, 60, 59, 60])]
        kubelet = Kubelet()
        for upto in range(1, len(lines) + 1):
            kubelet.files[KEY] = lines[:upto]

            await collect(kubelet)

            assert stored() == expected(lines[:upto])

    async def test_a_clock_set_back_doubles_nothing(self):
        lines = [line(s, b"%d" % i) for i, s in enumerate([50, 51, 52, 900, 901, 902, 60, 61, 62, 901, 63])]
        kubelet = Kubelet()
        for upto in (7, 8, 9, 11):
            kubelet.files[KEY] = lines[:upto]

            await collect(kubelet)

            assert stored() == expected(lines[:upto])

    async def test_a_ten_megabyte_line_is_kept_whole(self):
        text = random.Random(3).randbytes(10 * 1024 * 1024).replace(b"\n", b"\r")
        lines = [line(1, b"before"), line(1, text), line(1, b"after")]
        kubelet = Kubelet(chunk=65_521)
        kubelet.files[KEY] = lines
        publisher = Nobody()
        one = follower(kubelet, Sight(RUN, is_dead=True), publisher)

        await one.run()

        assert b"".join(texts()) == b"before" + text + b"after"
        assert [kind for kind, _ in stored()] == [b" ", *[b"p"] * 9, b" ", b" "]
        assert (
            sum(len(p.data) for each in publisher.sent for batch in hot.decode(each) for p in batch.pieces)
            < 12 * 7 * 4096
        )
        before = stored()
        books.row.is_complete = False
        await collect(kubelet)
        assert stored() == before


class TestCrashes:
    @pytest.mark.parametrize("seed", range(8))
    async def test_a_collector_killed_at_any_point_is_taken_over_exactly(self, seed):
        """A kill leaves any number of whole commits; the rest is asked for again."""
        chance = random.Random(seed)
        lines = written(60)
        kubelet = Kubelet(chunk=chance.choice([None, 5, 64]))
        kubelet.files[KEY] = lines[: chance.randrange(1, 30)]
        for upto in sorted(chance.randrange(1, 60) for _ in range(4)):
            kubelet.files[KEY] = lines[:upto]
            task = asyncio.create_task(follower(kubelet).run())
            await asyncio.sleep(chance.random() * 0.02)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

            assert stored() == expected(lines)[: len(stored())]

        kubelet.files[KEY] = lines
        await collect(kubelet)

        assert stored() == expected(lines)

    async def test_a_collector_whose_stream_was_taken_stores_nothing_more(self):
        lines = written(30)
        kubelet = Kubelet()
        kubelet.files[KEY] = lines[:10]
        first = follower(kubelet)
        task = asyncio.create_task(first.run())
        await until(lambda: len(stored()) == 10)
        second = follower(kubelet)
        kubelet.files[KEY] += lines[10:20]
        await until(lambda: first.follower.tail.is_lost)
        first.follower.interrupt()  # as the collector does, every second
        await asyncio.wait_for(task, 5)
        assert len(stored()) == 10
        assert not first.follower.is_complete

        other = asyncio.create_task(second.run())
        kubelet.files[KEY] += lines[20:]
        await until(lambda: len(stored()) == 30)

        other.cancel()
        await asyncio.gather(other, return_exceptions=True)
        assert stored() == expected(lines)

    async def test_a_full_disk_stops_collecting_until_there_is_room(self, monkeypatch):
        lines = written(40)
        kubelet = Kubelet()
        kubelet.files[KEY] = lines
        real, tries, problems = objects.write, itertools.count(), []

        def sometimes(name, data):
            if next(tries) < 3:
                raise OSError(28, "No space left on device")
            return real(name, data)

        async def soon(seconds):
            problems.append(one.counters.problem)
            await real_sleep(min(seconds, 0.01))

        real_sleep = asyncio.sleep
        monkeypatch.setattr(journal.asyncio, "sleep", soon)
        monkeypatch.setattr(journal._write_pack, "__defaults__", (sometimes,))
        kubelet.dead.add(KEY)
        one = follower(kubelet, Sight(RUN, is_dead=True))
        await asyncio.wait_for(one.run(), 10)

        assert stored() == expected(lines)
        assert "No space left on device" in "".join(problems)
        assert one.counters.problem == ""

    async def test_readers_stop_while_too_much_is_pending(self, monkeypatch):
        monkeypatch.setattr(journal, "MOST_PENDING_BYTES", 2000)
        lines = written(200)
        kubelet = Kubelet(chunk=500)
        kubelet.files[KEY] = lines
        stuck = True

        def fail(name, data):
            if stuck:
                raise OSError(28, "No space left on device")
            return real(name, data)

        real = objects.write
        monkeypatch.setattr(journal._write_pack, "__defaults__", (fail,))
        monkeypatch.setattr(journal, "LONGEST_BACK_OFF", 0.01)
        kubelet.dead.add(KEY)
        one = follower(kubelet, Sight(RUN, is_dead=True))
        task = asyncio.create_task(one.run())
        await until(lambda: one.counters.pending_bytes >= 2000)
        await asyncio.sleep(0.1)
        assert one.counters.pending_bytes < 4000

        stuck = False
        await asyncio.wait_for(task, 20)

        assert stored() == expected(lines)


class TestGaps:
    async def test_lines_the_node_forgot_leave_a_gap_row(self):
        lines = written(40)
        kubelet = Kubelet()
        kubelet.files[KEY] = lines[:10]
        await collect(kubelet)
        kubelet.files[KEY] = lines[30:]

        await collect(kubelet)

        kinds = [kind for kind, _ in stored()]
        assert kinds == [b" "] * 10 + [b"g"] + [b" "] * 10
        assert "may be missing" in said()[0]
        assert books.gaps[0][0] == 10
        assert texts()[11:] == [text for _, text in expected(lines[30:])]

    async def test_a_rotation_that_lost_nothing_leaves_none(self):
        lines = written(40, per_second=20)
        kubelet = Kubelet()
        kubelet.files[KEY] = lines[:35]
        await collect(kubelet)
        kubelet.files[KEY] = lines[30:]

        await collect(kubelet)

        assert stored() == expected(lines)

    async def test_a_pod_deleted_before_its_end_was_read_says_so_once(self):
        kubelet = Kubelet(cut_lines=4, breaks=True)
        kubelet.files[KEY] = written(9)
        task = asyncio.create_task(follower(kubelet, Sight(RUN)).run())
        await until(lambda: len(stored()) >= 4)

        del kubelet.files[KEY]
        await asyncio.wait_for(task, 5)

        assert [kind for kind, _ in stored()].count(b"g") == 1
        assert stored()[-1][0] == b"g"
        assert said() == ["The pod was deleted before the end of its log was collected."]

    async def test_a_pod_deleted_after_its_follow_ended_is_whole(self):
        kubelet = Kubelet()
        kubelet.files[KEY] = written(9)
        sight = Sight(RUN, is_leaving=True)
        task = asyncio.create_task(follower(kubelet, sight).run())
        await until(lambda: len(stored()) == 9)

        kubelet.dead.add(KEY)
        await asyncio.sleep(0)
        kubelet.files.pop(KEY)
        await asyncio.wait_for(task, 5)

        assert stored() == expected(written(9))

    async def test_a_log_that_may_not_be_read_is_given_up_when_its_pod_is_gone(self):
        """Without the right to `pods/log` a pod that is gone is answered 403, never 404."""
        kubelet = Kubelet()
        kubelet.refusal = Forbidden('cannot get resource "pods/log"', status=403)
        sight = Sight(RUN, is_dead=True)
        task = asyncio.create_task(follower(kubelet, sight).run())
        await until(lambda: len(kubelet.requests) > 3)
        assert stored() == []

        sight.is_gone = True
        sight.changed.set()
        await asyncio.wait_for(task, 5)

        assert said() == ['Cube was not allowed to read this log: cannot get resource "pods/log"']
        assert len(stored()) == 1

    async def test_the_log_of_another_pod_with_the_same_name_is_not_taken(self):
        kubelet = Kubelet()
        kubelet.files[KEY] = written(9)

        await collect(kubelet, is_gone=True, is_replaced=True)

        assert [kind for kind, _ in stored()] == [b"g"]
        assert kubelet.requests == []


class TestRestarts:
    async def test_the_previous_instance_is_read_to_its_end_and_not_mixed_with_the_next(self):
        old, new = written(20), [line(100 + i, b"new %d" % i) for i in range(5)]
        kubelet = Kubelet()
        kubelet.files[KEY] = old[:12]
        sight = Sight(RUN)
        task = asyncio.create_task(follower(kubelet, sight).run())
        await until(lambda: len(stored()) == 12)

        kubelet.previous[KEY], kubelet.files[KEY] = old, new
        await asyncio.sleep(0.01)  # The watch is late: meanwhile requests by name reach the next instance.
        sight.is_dead, sight.newer_restarts = True, 1
        sight.changed.set()
        await asyncio.wait_for(task, 5)

        assert stored() == expected(old)

    async def test_an_instance_the_node_forgot_gets_a_gap_row(self):
        kubelet = Kubelet()
        kubelet.files[KEY] = written(3)

        await collect(kubelet, newer_restarts=2)

        assert [kind for kind, _ in stored()] == [b"g"]


class TestAnnouncing:
    async def test_every_line_is_announced_with_its_ordinal(self):
        kubelet = Kubelet(cut_lines=5)
        kubelet.files[KEY] = written(30)
        publisher = Nobody()
        one = follower(kubelet, Sight(RUN, is_dead=True), publisher)

        await one.run()

        batches = [*hot.decode(b"".join(publisher.sent))]
        assert [piece.ordinal for batch in batches for piece in batch.pieces] == list(range(30))
        assert {(batch.stream, batch.epoch) for batch in batches} == {(5, 1)}
        assert (books.row.line_count, books.row.is_complete) == (30, True)
        assert books.row.first_time == stamp(0).decode()


class TestDoubts:
    """What a node may do to a follow without a sign of it."""

    async def test_a_silent_follow_is_probed_and_opened_again(self, monkeypatch):
        monkeypatch.setattr(following, "PROBE_SECONDS", 0.02)
        kubelet = Kubelet()
        kubelet.files[KEY] = written(9)
        kubelet.silent = True
        one = follower(kubelet)
        task = asyncio.create_task(one.run())
        await until(lambda: len(stored()) == 9)
        kubelet.files[KEY] = kubelet.files[KEY] + [line(70, b"unheard")]
        await asyncio.sleep(0.05)
        assert len(stored()) == 9

        kubelet.silent = False
        await one.follower.probe()
        await until(lambda: len(stored()) == 10)

        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert texts()[-1] == b"unheard"

    @staticmethod
    def long_open(one):
        """As if the follow had been opened long before the lines were written, whose times are of 2026-11-24."""
        one.follower._opened_at = moment_of(stamp(0)) - 60

    @pytest.mark.parametrize("in_one_chunk", [True, False])
    async def test_a_jump_in_time_after_a_stall_leaves_a_gap_row(self, in_one_chunk):
        """The node may have left out a whole file; what the socket still held before and after it is kept."""
        kubelet = Kubelet()
        kubelet.files[KEY] = [line(2, b"before")]
        one = follower(kubelet)
        task = asyncio.create_task(one.run())
        await until(lambda: len(stored()) == 1)
        self.long_open(one)
        one.pulse.missed_at = float("inf")  # the process has just been woken

        later = [line(3, b"held"), line(50, b"after"), line(51, b"more")]
        if in_one_chunk:
            kubelet.files[KEY].append(b"".join(later))
        else:
            kubelet.files[KEY] += later
        await until(lambda: len(stored()) == 5)

        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert [kind for kind, _ in stored()] == [b" ", b" ", b"g", b" ", b" "]
        gap = gap_of(texts()[2])
        assert (gap.cause, gap.since, gap.until) == ("stalled", stamp(3).decode(), stamp(50).decode())
        assert books.gaps == [(2, gap)]
        assert len(kubelet.requests) == 1

    async def test_a_quiet_time_that_was_waited_for_leaves_none(self):
        one = follower(Kubelet())
        self.long_open(one)
        one.follower.tail.last = stamp(2)
        found = {}
        for waited in (48.0, 1.0):
            one.follower._waited = waited
            found[waited] = one.follower._marked(line(50, b"after"))

        assert found[48.0] == (line(50, b"after"), [])
        assert [ordinal for ordinal, _ in found[1.0][1]] == [0]

    async def test_quiet_times_of_long_ago_leave_none(self):
        kubelet = Kubelet()
        kubelet.files[KEY] = [line(0, b"one"), line(900, b"two"), line(1800, b"three")]
        one = follower(kubelet)
        task = asyncio.create_task(one.run())
        await until(lambda: len(stored()) == 3)

        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert texts() == [b"one", b"two", b"three"]

    def test_a_process_knows_that_it_was_stopped(self, monkeypatch):
        now = [100.0]
        monkeypatch.setattr(following.time, "monotonic", lambda: now[0])
        pulse = Pulse(1.0)
        now[0] = 101.0
        pulse.beat()
        assert not pulse.missed_since(100.5)
        now[0] = 131.0
        assert pulse.missed_since(101.0)
        pulse.beat()
        assert pulse.missed_since(101.0)
        now[0] = 132.0
        assert not pulse.missed_since(131.5)

    async def test_a_node_without_room_for_a_follow_is_asked_every_second(self, monkeypatch):
        monkeypatch.setattr(following, "POLL_SECONDS", 0.01)
        kubelet = Kubelet()
        kubelet.files[KEY] = written(5)
        kubelet.no_room = True
        one = follower(kubelet)
        task = asyncio.create_task(one.run())
        await until(lambda: len(stored()) == 5)
        kubelet.files[KEY] += written(9)[5:]
        await until(lambda: len(stored()) == 9)

        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert stored() == expected(written(9))
        assert one.follower.is_polling
        assert [follow for _, _, follow in kubelet.requests][:2] == [True, False]

    async def test_what_the_node_says_of_a_dead_containers_log_is_believed_in_the_end(self):
        kubelet = Kubelet()
        kubelet.files[KEY] = [b"unable to retrieve container logs for containerd://x\n"]

        await collect(kubelet)

        assert said() == ["The node could not read this log: unable to retrieve container logs for containerd://x"]
        assert len(kubelet.requests) == following.REFUSALS
