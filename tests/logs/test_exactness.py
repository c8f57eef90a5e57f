"""L4 to L9 of `make bench-logs` in little: real processes, a log server that forgets as Kubernetes does, no timing.

What the log server wrote is compared, byte for byte, with what the store holds and what viewers were shown.
"""

import asyncio
import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.bench.logs.compare import Verdict, compare
from tests.bench.logs.cube import cube
from tests.bench.logs.viewers import Viewer, watching
from tests.bench.logserver.remote import log_server

pytestmark = pytest.mark.skipif(
    bool(os.environ.get("CUBE_TEST_DATABASE_URL")), reason="processes of its own: they run once, on SQLite"
)
STORED_WITHIN = 30  # seconds of silence before a line counts as not stored


@pytest.fixture(scope="module")
def server():
    with log_server() as made:
        yield made


@pytest.fixture(scope="module")
def running_cube(server):
    try:
        with cube(server, "", "l4", "l6", "l7", "l8", "l9", "odd") as made:
            made.start_collector()
            made.start_web()
            yield made
    except (ImportError, OSError) as error:
        pytest.skip(f"no Redis at 127.0.0.1:6379, or one of our own is needed: {error}")


@pytest.fixture
def bench(running_cube, server):
    """The Cube with a collector, and no pods."""
    server.forget()
    if "collector" not in running_cube.processes:
        running_cube.start_collector()
    yield running_cube
    server.stop()


def kill_collector(bench):
    """kill -9, and another at once; that its lease has run out is all that time is shortened by."""
    bench.kill("collector")
    bench.let_lease_run_out()
    bench.start_collector()


def followed(bench, number):
    deadline = time.monotonic() + 60
    while bench.server.stats()["follows"] < number:
        assert time.monotonic() < deadline, bench.server.stats()
        time.sleep(0.05)


def stored(bench, job):
    """The verdict once everything that was written is committed, or nothing comes any more."""
    bench.wait_stored(job, seconds=STORED_WITHIN)
    return bench.judge_read(job)


def screen(bench, job, viewer):
    shown, verdict = viewer.shown(), Verdict()
    for run in bench.oracle(job):
        verdict += compare(bench.written(run), shown.get((run["pod"], run["container"], run["restart"]), []))
    return verdict


def written(bench, job):
    return sum(run["lines"] for run in bench.oracle(job))


class TestL4AndL5:
    async def test_killing_the_collector_and_cutting_viewers_loses_and_doubles_nothing(self, bench):
        bench.pods("l4", 3)
        await asyncio.to_thread(followed, bench, 3)
        viewers = [Viewer(bench, "l4", cut_every=1), Viewer(bench, "l4")]
        async with watching(*viewers):
            bench.server.write(rate=200, spread=0.1)
            for _ in range(2):
                await asyncio.sleep(1.5)
                kill_collector(bench)  # From this thread: the process ends with the one that started it.
                await asyncio.to_thread(followed, bench, 3)
            await asyncio.sleep(1)
            bench.server.stop()
            for viewer in viewers:
                assert await viewer.until(written(bench, "l4"), STORED_WITHIN), (len(viewer.rows), "shown")

        verdict = await asyncio.to_thread(stored, bench, "l4")
        assert verdict.is_exact, verdict.where
        assert verdict.gaps == 0
        assert verdict.written > 600
        assert viewers[0].connections > 2
        for viewer in viewers:
            assert screen(bench, "l4", viewer).is_exact, screen(bench, "l4", viewer).where
            assert viewer.again == 0

    def test_a_program_reads_the_same(self, bench):
        names = bench.pods("l4", 2, prefix="l4x")
        bench.server.write(pods=names, lines=300)
        bench.wait_committed("l4", bench.committed("l4") + 600)

        read = bench.ndjson("l4")
        runs = [run for run in bench.server.oracle() if run["pod"] in names]
        verdicts = [compare(bench.written(run), read[run["pod"], run["container"], run["restart"]]) for run in runs]

        assert [(verdict.is_exact, verdict.stored) for verdict in verdicts] == [(True, 300)] * 2


class TestL6:
    def test_cut_follows_amid_equal_time_stamps_lose_and_double_nothing(self, bench):
        bench.server.rules(cut_after=1.0, cut_mean=0.7)
        names = bench.pods("l6", 4)
        bench.server.write(pods=names[:2], rate=500, burst=500, same_stamp=True, spread=0.7)
        bench.server.write(pods=names[2:], rate=500, burst=100, spread=0.7)
        time.sleep(5)
        bench.server.stop()

        verdict = stored(bench, "l6")

        assert verdict.is_exact, verdict.where
        assert verdict.gaps == 0
        assert bench.server.stats()["cuts"] >= 8


class TestL7:
    @pytest.fixture(autouse=True)
    def _knows_how_often_files_are_rotated(self, bench):
        for seconds in ("1", "10"):
            bench.stop("collector")
            bench.settings["CUBE_LOG_ROTATION_SECONDS"] = seconds
            bench.start_collector()
            if seconds == "1":
                yield

    def test_what_rotation_takes_is_always_said(self, bench):
        """The collector stands still, then is killed, while files of 64 KiB come and go."""
        bench.server.rules(rotate_bytes=64 * 1024, rotate_every=1.0, send_buffer=16 * 1024)
        bench.pods("l7", 2)
        followed(bench, 2)
        bench.server.write(rate=2000, spread=0.1)
        time.sleep(1)
        collector = bench.processes["collector"]
        collector.send_signal(signal.SIGSTOP)
        time.sleep(4)
        collector.send_signal(signal.SIGCONT)
        time.sleep(1.5)
        bench.kill("collector")
        time.sleep(1)
        bench.let_lease_run_out()
        bench.start_collector()
        followed(bench, 2)
        time.sleep(1)
        bench.server.stop()
        bench.wait_stored("l7", seconds=4)

        verdict = bench.judge_read("l7")

        assert verdict.missing > 0, "the story is meant to lose lines on the node"
        assert verdict.gaps >= 2
        odd = verdict.silent, verdict.doubled, verdict.disordered, verdict.foreign
        assert odd == (0, 0, 0, 0), verdict.where


class TestL8:
    def test_the_last_line_of_a_deleted_pod_is_there_and_a_lost_node_is_told(self, bench):
        names = bench.pods("l8", 6)
        followed(bench, 6)
        bench.server.write(rate=100, spread=0.1)
        time.sleep(1)

        def delete(number):
            lost = number >= 4
            return bench.server.delete(
                pod=names[number], grace=0 if lost else 1.0, last_lines=1000, over=0.2, is_node_lost=lost
            )

        with ThreadPoolExecutor(6) as pool:
            list(pool.map(delete, range(6)))
        bench.wait_stored("l8", seconds=8)
        held = bench.ndjson("l8")
        verdicts = {
            run["pod"]: compare(bench.written(run), held[run["pod"], "main", 0], name=run["pod"])
            for run in bench.oracle("l8")
        }

        for name in names[:4]:
            assert verdicts[name].is_exact, verdicts[name].where
        for name in names[4:]:
            assert verdicts[name].silent == 0, verdicts[name].where
            assert verdicts[name].gaps == (1 if verdicts[name].missing else verdicts[name].gaps)

    def test_a_name_that_is_used_again_is_another_log(self, bench):
        (name,) = bench.pods("l8", 1, prefix="l8again")
        bench.server.write(pods=[name], lines=50)
        followed(bench, 1)
        bench.server.delete(pod=name, grace=0.5)
        bench.pods("l8", 1, prefix="l8again")
        bench.server.write(pods=[name], lines=70)
        bench.wait_committed("l8", bench.committed("l8") + 70, seconds=4)

        held = bench.stored("l8")
        runs = bench.server.oracle(pods=[name])

        assert [run["lines"] for run in runs] == [50, 70]
        for run in runs:
            verdict = compare(bench.written(run), held[run["uid"], "main", 0], name=run["uid"])
            assert verdict.is_exact, verdict.where


class TestL9:
    async def test_a_slow_viewer_lags_and_loses_nothing(self, bench):
        bench.pods("l9", 2)
        await asyncio.to_thread(followed, bench, 2)
        slow, fast = Viewer(bench, "l9", lines_per_second=100), Viewer(bench, "l9")
        async with watching(slow, fast):
            bench.server.write(rate=2500, spread=0.1)
            await asyncio.sleep(4)
            bench.server.stop()
            total = written(bench, "l9")
            assert await fast.until(total, STORED_WITHIN), (len(fast.rows), total)
            had = len(slow.rows)
            slow.lines_per_second = 0
            assert await slow.until(total, STORED_WITHIN), (len(slow.rows), total)

        # Whether it was told of a lag depends on how much the sockets' buffers hold: L9 of `make bench-logs` asks.
        assert had < total / 2
        for viewer in (slow, fast):
            verdict = screen(bench, "l9", viewer)
            assert (verdict.is_exact, viewer.again) == (True, 0), verdict.where


class TestNodes:
    def test_a_node_without_inotify_instances_is_polled(self, bench):
        bench.server.rules(follows_per_node=2)
        bench.pods("odd", 5)
        bench.server.write(rate=50, spread=0.1)
        time.sleep(4)
        bench.server.stop()

        verdict = stored(bench, "odd")

        assert verdict.is_exact, verdict.where
        assert bench.server.stats()["no_watcher"] >= 3

    def test_restarts_and_a_clock_that_is_set_back(self, bench):
        (name,) = bench.pods("odd", 1, prefix="odd-r")
        followed(bench, 1)
        before = bench.committed("odd")
        for number in range(3):
            bench.server.write(pods=[name], lines=40)
            bench.server.clock(node="node-0", step_back=60.0 * (number + 1))
            bench.server.write(pods=[name], lines=40)
            time.sleep(1)
            if number < 2:
                bench.server.restart(pod=name)
                time.sleep(1)
        bench.wait_committed("odd", before + 240, seconds=5)

        held = bench.ndjson("odd")
        runs = bench.server.oracle(pods=[name])

        assert [run["lines"] for run in runs] == [80, 80, 80]
        for run in runs:
            verdict = compare(bench.written(run), held[name, "main", run["restart"]], name=str(run["restart"]))
            assert verdict.is_exact, verdict.where
