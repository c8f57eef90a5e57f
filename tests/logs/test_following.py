# ruff: noqa: S311
"""Exactness: whatever the node and the network do, each line is stored once, in order, or a gap row says so."""

import asyncio
import itertools
import random
import threading
import time

import pytest

from apps.logs import following, hot, store
from apps.logs.following import Follower, Sight
from apps.logs.models import LogStream
from apps.logs.services import ContainerRun

from .conftest import stamp
from .kubelet import Kubelet, Nobody

PATH = "1/00000000-0000-0000-0000-000000000007/1-uid-main-0.log"
RUN = ContainerRun(namespace="cube-x", pod_name="train-0", pod_uid="uid", container="main", restart=0)
KEY = ("train-0", "main")


@pytest.fixture(autouse=True)
def _hurry(monkeypatch):
    for name, value in {
        "BATCH_SECONDS": 0.005,
        "LOOK_SECONDS": 0.01,
        "SOON_SECONDS": 0.001,
        "DOUBT_SECONDS": 0.02,
    }.items():
        monkeypatch.setattr(following, name, value)
    monkeypatch.setattr(following, "LONGEST_BACK_OFF", 0.01)


def line(second, text, nanosecond=0):
    return stamp(second, nanosecond) + b" " + text + b"\n"


def follower(kubelet, sight=None, publisher=None):
    row = LogStream(pk=5, path=PATH)
    return Follower(streams=kubelet, sight=sight or Sight(RUN), row=row, job_uid="7", publisher=publisher or Nobody())


def stored():
    return [(each.kind, each.text) for each in store.iterate(store.Source(5, PATH))]


def texts():
    return [text for _, text in stored()]


async def until(condition, seconds=5):
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.003)


async def collect(kubelet, key=KEY, **sight):
    """Follow until complete; the container is dead from the start."""
    one = follower(kubelet, Sight(RUN, is_dead=True, **sight))
    kubelet.dead.add(key)
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
    return [(b"o", each[31:-1]) for each in lines]


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

        assert texts() == [b"before", text, b"after"]
        assert sum(map(len, publisher.sent)) < 100_000
        await collect(kubelet)
        assert len(texts()) == 3


class TestCrashes:
    @pytest.mark.parametrize("seed", range(8))
    async def test_a_collector_killed_at_any_point_is_taken_over_exactly(self, seed):
        """A kill leaves any prefix of the bytes in the file, and rows that are behind; the rest is asked for again."""
        chance = random.Random(seed)
        lines = written(60)
        kubelet = Kubelet(chunk=chance.choice([None, 5, 64]))
        kubelet.files[KEY] = lines[: chance.randrange(1, 60)]
        await collect(kubelet)
        path = store.file_of(PATH)
        whole = path.read_bytes()
        path.write_bytes(whole[: chance.randrange(len(whole) + 1)])
        store._indexes.clear()

        kubelet.files[KEY] = lines
        await collect(kubelet)

        assert stored() == expected(lines)

    async def test_a_cancelled_collector_leaves_what_it_read(self):
        lines = written(50)
        kubelet = Kubelet()
        kubelet.files[KEY] = lines
        for _ in range(10):
            task = asyncio.create_task(follower(kubelet).run())
            await asyncio.sleep(random.Random(_).random() * 0.02)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

            assert stored() == expected(lines)[: len(stored())]
        await collect(kubelet)
        assert stored() == expected(lines)

    async def test_two_collectors_never_write_both(self):
        lines = written(30)
        kubelet = Kubelet()
        kubelet.files[KEY] = lines[:10]
        first, second = (asyncio.create_task(follower(kubelet).run()) for _ in range(2))
        await until(lambda: len(stored()) == 10)
        kubelet.files[KEY] += lines[10:20]
        await until(lambda: len(stored()) == 20)
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        kubelet.files[KEY] += lines[20:]

        await until(lambda: len(stored()) == 30)

        second.cancel()
        await asyncio.gather(second, return_exceptions=True)
        assert stored() == expected(lines)

    async def test_a_full_disk_stops_collecting_until_there_is_room(self, monkeypatch):
        lines = written(40)
        kubelet = Kubelet()
        kubelet.files[KEY] = lines
        real, tries = store.os.write, itertools.count()

        def sometimes(fd, data):
            if next(tries) % 3:
                raise OSError(28, "No space left on device")
            return real(fd, bytes(data[:100]))

        monkeypatch.setattr(store.os, "write", sometimes)
        task = asyncio.create_task(collect(kubelet))
        await asyncio.sleep(0.1)
        monkeypatch.setattr(store.os, "write", real)
        await task

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
        assert kinds == [b"o"] * 10 + [b"g"] + [b"o"] * 10
        assert b"may be missing" in texts()[10]
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
        assert stored()[-1] == (b"g", b"The pod was deleted before the end of its log was collected.")

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
    async def test_every_line_is_announced_after_it_is_stored_with_its_ordinal(self):
        kubelet = Kubelet(cut_lines=5)
        kubelet.files[KEY] = written(30)
        publisher = Nobody()
        one = follower(kubelet, Sight(RUN, is_dead=True), publisher)

        await one.run()

        batches = [hot.decode(payload) for payload in publisher.sent]
        assert [piece.ordinal for batch in batches for piece in batch.pieces] == list(range(30))
        assert {batch.stream for batch in batches} == {5}
        assert (one.progress.lines, one.progress.is_complete) == (30, True)
        assert one.progress.bytes == store.file_of(PATH).stat().st_size
        assert one.progress.first_time == stamp(0).decode()


class TestBeingCancelled:
    """A thread that opens or writes the file goes on when the task that waits for it is cancelled."""

    async def test_while_the_file_is_opened_leaves_no_lock_behind(self, monkeypatch):
        opened, is_opening, may_open = store.Appender, threading.Event(), threading.Event()

        def slow(*args, **kwargs):
            is_opening.set()
            may_open.wait(10)
            return opened(*args, **kwargs)

        monkeypatch.setattr(store, "Appender", slow)
        task = asyncio.create_task(follower(Kubelet()).run())
        await asyncio.to_thread(is_opening.wait, 10)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        may_open.set()

        await until(lambda: store.file_of(PATH).exists() and _is_free())

    async def test_while_a_batch_is_written_still_counts_it(self, monkeypatch):
        append, is_writing = store.Appender._write, threading.Event()

        def slow(file, data):
            is_writing.set()
            time.sleep(0.1)
            append(file, data)

        monkeypatch.setattr(store.Appender, "_write", slow)
        kubelet = Kubelet()
        kubelet.files[KEY] = [line(1, b"one")]
        one = follower(kubelet)
        task = asyncio.create_task(one.run())
        await asyncio.to_thread(is_writing.wait, 10)
        one.is_dirty = False  # The books are brought up to date just now.
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

        assert texts() == [b"one"]
        assert (one.is_dirty, one.progress.lines, one.progress.bytes) == (True, 1, store.file_of(PATH).stat().st_size)
        again = follower(kubelet, Sight(RUN, is_dead=True))
        await again.run()
        assert (texts(), again.progress.first_time) == ([b"one"], stamp(1).decode())


def _is_free():
    try:
        store.Appender(store.Source(5, PATH)).close()
    except store.InUse:
        return False
    return True
