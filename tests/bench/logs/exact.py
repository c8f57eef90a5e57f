"""L4 to L8: nothing lost, nothing doubled, nothing out of order, and what is lost is said."""

import asyncio
import signal
import time
from concurrent.futures import ThreadPoolExecutor

from . import references
from .bench import COLLECTOR_CORE, DICE, Bench, quick, run, tell, watched
from .compare import Verdict, compare
from .viewers import Viewer


async def kill_now_and_then(bench: Bench, *, every: float, seconds: float) -> int:
    """kill -9 the collector at random moments, a new one at once. The lease of the dead is let run out by hand: what is
    measured is exactness, and twenty seconds of waiting would leave time for few deaths. Returns their number."""
    ends, kills = time.monotonic() + seconds, 0
    while (left := ends - time.monotonic()) > 0:
        await asyncio.sleep(min(left, every * DICE.uniform(0.6, 1.4)))
        if time.monotonic() < ends:
            bench.cube.kill("collector")
            bench.cube.let_lease_run_out()
            bench.cube.start_collector(core=COLLECTOR_CORE)
            kills += 1
    return kills


def l4(bench: Bench) -> None:
    """The collector is killed; its successor goes on from what is committed."""
    pods = int(quick(5, 20))
    with bench.collecting():
        names = bench.cube.pods("l4", pods)
        bench.server.write(rate=200, spread=0.1)
        with references.kubectl_loop(bench.server, bench.cube.jobs["l4"].namespace, names[0]) as kubectl:
            kills = asyncio.run(kill_now_and_then(bench, every=quick(4, 20), seconds=quick(12, 300)))
            kubectl.kill()
            time.sleep(1)
            bench.server.stop()
            late = bench.cube.wait_stored("l4")
            time.sleep(1.5)
            other = kubectl.verdict()
        bench.verdict(f"L4 {kills} kills -9", bench.cube.judge("l4"), f"kubectl again --since-time: {other}")
        tell(f"  everything committed {late:.1f} s after the last line")


def l5(bench: Bench) -> None:
    """Viewers whose connections break resume where they were."""
    pods, viewers = int(quick(4, 20)), [Viewer(bench.cube, "l5", cut_every=3) for _ in range(int(quick(3, 10)))]
    with bench.collecting():
        bench.cube.pods("l5", pods)
        bench.server.write(rate=quick(100, 200), spread=0.1)

        async def during() -> None:
            await kill_now_and_then(bench, every=quick(5, 20), seconds=quick(10, 60))
            bench.server.stop()
            total = sum(each["lines"] for each in bench.cube.oracle("l5"))
            for viewer in viewers:
                await viewer.until(total)

        run(watched(viewers, during))
        verdict, again = Verdict(), sum(viewer.again for viewer in viewers)
        for viewer in viewers:
            verdict += screen(bench, "l5", viewer)
        cuts = sum(viewer.connections - 1 for viewer in viewers)
        awx = references.awx_told(bench, "l5", pods=pods, rate=200, seconds=quick(5, 15), cut_every=3)
        bench.verdict(f"L5 {len(viewers)} viewers, {cuts} cuts", verdict, awx, passed=verdict.is_exact and not again)
        bench.row("L5 rows sent again", str(again), "0", "", again == 0)


def screen(bench: Bench, job: str, viewer: Viewer, *, whole: bool = True) -> Verdict:
    """What one viewer was shown against the oracle; without `whole`, from the first line it was shown on."""
    shown, verdict = viewer.shown(), Verdict()
    for each in bench.cube.oracle(job):
        rows = shown.get((each["pod"], each["container"], each["restart"]), [])
        written = bench.cube.written(each)
        if rows and not whole:
            written = written[written.index(rows[0].line) :]
        verdict += compare(written, rows, name=f"screen of {each['pod']}")
    return verdict


def l6(bench: Bench) -> None:
    """Every follow is cut, cleanly or not, amid bursts of lines that share a second, and many a time stamp."""
    seconds = quick(10, 60)
    with bench.collecting(cut_after=quick(2, 5), cut_mean=quick(1.5, 5)):
        names = bench.cube.pods("l6", int(quick(4, 10)))
        bench.server.write(pods=names[::2], rate=500, burst=500, same_stamp=True, spread=0.7)
        bench.server.write(pods=names[1::2], rate=500, burst=500, spread=0.7)
        with references.kubectl_loop(bench.server, bench.cube.jobs["l6"].namespace, names[0]) as kubectl:
            time.sleep(seconds)
            bench.server.stop()
            bench.cube.wait_stored("l6")
            time.sleep(1.5)
            other = kubectl.verdict()
        stats = bench.server.stats()
        bench.verdict(f"L6 {stats['cuts']} cuts", bench.cube.judge("l6"), f"kubectl again --since-time: {other}")


def l7(bench: Bench) -> None:
    """Files of 64 KiB, rotated by a check each second, and a collector that stands still now and then."""
    pods, ends = int(quick(4, 10)), time.monotonic() + quick(20, 150)
    with bench.collecting(rotate_bytes=64 * 1024, rotate_every=1.0, send_buffer=32 * 1024) as collector:
        names = bench.cube.pods("l7", pods)
        bench.server.write(rate=300, spread=0.2)
        bench.wait_followed(pods)
        with references.kubectl_loop(bench.server, bench.cube.jobs["l7"].namespace, names[0]) as kubectl:
            stalls = 0
            while time.monotonic() < ends:
                time.sleep(DICE.uniform(1, quick(3, 6)))
                stall = DICE.uniform(0, quick(8, 30))
                collector.send_signal(signal.SIGSTOP)
                kubectl.stand_still(stall)
                collector.send_signal(signal.SIGCONT)
                stalls += 1
            time.sleep(3)
            bench.server.stop()
            time.sleep(4)
            other = kubectl.verdict()
        verdict = bench.cube.judge("l7", may_lose=True)
        rotations = sum(each["rotations"] for each in bench.cube.oracle("l7"))
        what = f"L7 {rotations} rotations, {stalls} stalls"
        reference = f"kubectl again --since-time: {other.missing} lost, all silently" if other.missing else str(other)
        bench.row(f"{what}: lost", f"{verdict.missing} of {verdict.written:,}, {verdict.gaps} gap rows", "", reference)
        bench.row("L7 lost silently", str(verdict.silent), "0", "", not verdict.silent)
        bench.row("L7 lost after it was read", str(verdict.withheld), "0", "", not verdict.withheld)
        odd = verdict.doubled + verdict.disordered + verdict.foreign
        bench.row("L7 doubled, disordered, altered", str(odd), "0", "", not odd)
        for line in verdict.where:
            tell(f"  {line}")


def l8(bench: Bench) -> None:
    """Pods are deleted at any moment; 5,000 lines in the last 200 ms."""
    number = int(quick(8, 40))
    with bench.collecting():
        names = bench.cube.pods("l8", number)
        bench.server.write(rate=100, spread=0.2)
        bench.wait_followed(number)

        def delete(at: int) -> None:
            time.sleep(DICE.uniform(0.5, quick(5, 20)))
            lost = at % 4 == 3
            bench.server.delete(pod=names[at], grace=0 if lost else 1.0, last_lines=5000, is_node_lost=lost)

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(delete, range(number)))
        bench.cube.wait_stored("l8", seconds=20)
        time.sleep(2)
        deleted, lost, held = Verdict(), Verdict(), bench.cube.stored("l8")
        for each in bench.cube.oracle("l8"):
            key = each["uid"], each["container"], each["restart"]
            found = compare(bench.cube.written(each), held.get(key, []), name=each["pod"])
            if int(each["pod"].rpartition("-")[2]) % 4 == 3:
                lost += found
            else:
                deleted += found
        bench.verdict("L8 deleted, 1 s of grace", deleted)
        bench.row("L8 node lost: lost silently", f"{lost.silent} of {lost.missing} lost", "0", "", not lost.silent)
        for line in lost.where:
            tell(f"  {line}")
