"""L1 to L3, L9 and L10: how much, how fast, for how many."""

import asyncio
import time
from functools import partial

from tests.bench.table import percentile
from tests.journeys.running import wait_until

from . import references
from .bench import QUICK, Bench, Used, in_milliseconds, memory_mib, quick, run, tell, watched
from .viewers import Viewer

PARSED = 20  # of many viewers, how many measure every line; the others count


def l1(bench: Bench) -> None:
    """50 pods print as fast as they are read; what counts is committed to the store."""
    pods, seconds = int(quick(20, 50)), quick(6, 60)
    with bench.collecting(keep_lines=False) as collector:
        bench.cube.pods("l1", pods)
        bench.server.write(lines=1000)
        bench.wait_followed(pods)
        bench.cube.wait_stored("l1")
        used, before, begun = Used(collector), bench.cube.committed("l1"), time.monotonic()
        bench.server.flat(seconds=seconds)
        time.sleep(seconds)
        stored, took = bench.cube.committed("l1") - before, time.monotonic() - begun
        bench.cube.wait_stored("l1")
        lines = bench.cube.committed("l1") - before
        rate, cost = stored / took, 1e6 * used.seconds() / max(1, lines)
        wrong = _differs(bench, "l1")
        memory = memory_mib(collector)
    kubectl = _kubectl_flat(bench, seconds=min(seconds, 15))
    awx = references.awx_told(bench, "l1", pods=pods, rate=0, seconds=min(seconds, 15))
    bench.row("L1 lines/s stored", f"{rate:,.0f}", "≥ 50,000 (aim 100,000)", f"{kubectl}; {awx}", rate >= 50_000)
    bench.row("L1 CPU s per million lines", f"{cost:.1f}", "", f"collector; {memory:.0f} MiB resident")
    bench.row("L1 containers that differ", f"{wrong} of {pods}", "0", f"{lines:,} lines, by hash", not wrong)


def _differs(bench: Bench, job: str) -> int:
    """How many container runs are stored otherwise than they were written, by number and hash of lines."""
    import orjson

    told = bench.cube.python("tests.bench.logs.stored", bench.cube.jobs[job].uid, "digest").splitlines()
    held = {(row["uid"], row["restart"]): (row["lines"], row["digest"]) for row in map(orjson.loads, told)}
    wrong = 0
    for each in bench.cube.oracle(job):
        has = held.get((each["uid"], each["restart"]))
        if has != (each["lines"], each["digest"]):
            wrong += 1
            tell(f"  {each['pod']}: {each['lines']} written, stored {has and has[0]}, {each['rotations']} rotations")
    return wrong


def _kubectl_flat(bench: Bench, *, seconds: float) -> str:
    """`kubectl logs -f -l` of 20 pods, nothing stored."""
    bench.server.forget()
    bench.server.rules(keep_lines=False)
    bench.server.pods(namespace="default", names=[f"k-{at}" for at in range(20)], labels={"app": "k"})
    bench.server.write(lines=1000)
    with references.kubeconfig(bench.server, "default") as environment:
        kubectl = references.Kubectl(environment, "-l", "app=k", "--max-log-requests=20", "--tail=-1")
        bench.wait_followed(20)
        before = kubectl.lines
        bench.server.flat(seconds=seconds)
        time.sleep(seconds)
        rate = (kubectl.lines - before) / seconds
        used = kubectl.stop()
    bench.server.forget()
    return f"kubectl -f -l, not stored: {rate:,.0f}/s, {1e6 * used / max(1, kubectl.lines):.1f} CPU s per million"


def l2(bench: Bench) -> None:
    """From a line's own time to a viewer's socket: 50 pods merged, and one container."""
    for name, pods, bar in (("l2", 50, 300), ("l2b", 1, 100)):
        what = f"L2 {pods} pods x 100 lines/s" if pods > 1 else "L2 one container, 100 lines/s"
        with bench.collecting():
            namespace = bench.cube.jobs[name].namespace
            names = bench.cube.pods(name, pods)
            bench.wait_followed(pods)
            viewer = Viewer(bench.cube, name, keeps=False)
            run(watched([viewer], partial(_steady, bench, [viewer], pods=names, rate=100)))
            with references.kubeconfig(bench.server, namespace) as environment:
                kubectl = references.Kubectl(environment, names[0])
                time.sleep(quick(3, 8))
                kubectl.stop()
            bench.server.stop()
        latest = [each for each in kubectl.latencies[-200:] if each < 5000]
        reference = f"kubectl -f one pod to a pipe: {in_milliseconds(latest)}"
        if pods > 1:
            awx = references.awx_told(bench, name, pods=pods, rate=100, seconds=quick(5, 15))
            reference = f"{reference}; {awx}"
        passed = bool(viewer.latencies) and percentile(viewer.latencies, 99) <= bar
        bench.row(what, in_milliseconds(viewer.latencies), f"p99 ≤ {bar} ms", reference, passed)


async def _steady(bench: Bench, viewers: list[Viewer], *, pods: list[str], rate: float, seconds: float = 0) -> None:
    """Let the pods print and, once it runs evenly, measure for a while."""
    while not all(viewer.connections for viewer in viewers):
        await asyncio.sleep(0.05)
    await asyncio.to_thread(bench.server.write, pods=pods, rate=rate, spread=1 / rate)
    await asyncio.sleep(2)
    _from_now_on(viewers)
    await asyncio.sleep(seconds or quick(4, 20))


def _from_now_on(viewers: list[Viewer]) -> None:
    """What they were shown when they joined was written long before."""
    for viewer in viewers:
        viewer.latencies.clear()
        viewer.since_ns = time.time_ns()


def l3(bench: Bench) -> None:
    """One job of 8 pods, watched by 1, 10, 100 and 500: one follow a container, and nobody waits for the others."""
    crowds = (1, 50) if QUICK else (1, 10, 100, 500)
    p99s = []
    with bench.collecting():
        names = bench.cube.pods("l3", 8)
        bench.wait_followed(8)
        for crowd in crowds:
            viewers = [Viewer(bench.cube, "l3", keeps=False, measures=at < PARSED, tail=10) for at in range(crowd)]
            used = Used(*bench.cube.webs)
            seconds = quick(4, 10)

            async def during(viewers: list[Viewer] = viewers, seconds: float = seconds) -> None:
                await _steady(bench, viewers, pods=names, rate=10, seconds=seconds)
                await asyncio.to_thread(bench.server.stop)

            begun = time.monotonic()
            run(watched(viewers, during))
            share = 100 * used.seconds() / (time.monotonic() - begun)
            latencies = [each for viewer in viewers for each in viewer.latencies]
            p99s.append(percentile(latencies, 99) if latencies else float("inf"))
            follows = bench.server.stats()["most_follows"]
            measured = f"{follows} follows, {in_milliseconds(latencies)}"
            reference = f"web {share:.0f} % of a core; a UI straight on the API: {8 * crowd} follows"
            bench.row(f"L3 {crowd} viewers", measured, "8 follows", reference, follows == 8 and bool(latencies))
    ratio = p99s[-1] / p99s[0] if p99s[0] else float("inf")
    bench.row(f"L3 p99 at {crowds[-1]} against 1", f"{ratio:.2f}x", "≤ 2x", "", ratio <= 2)


def l9(bench: Bench) -> None:
    """A viewer reads 50 lines a second of a job that writes 20,000: the others do not feel it, and it loses nothing."""
    rate, seconds = quick(5_000, 20_000), quick(5, 20)
    with bench.collecting():
        names = bench.cube.pods("l9", 4)
        bench.wait_followed(4)
        others = [Viewer(bench.cube, "l9", keeps=False, tail=10) for _ in range(2)]
        slow = Viewer(bench.cube, "l9", lines_per_second=50, measures=False)
        found: dict[str, float] = {}

        async def during() -> None:
            await _steady(bench, others, pods=names, rate=rate / 4, seconds=seconds)
            found["alone"] = percentile([each for viewer in others for each in viewer.latencies], 99)
            found["before"] = memory_mib(*bench.cube.webs)
            task = asyncio.create_task(slow.run())
            await asyncio.sleep(1)
            _from_now_on(others)
            await asyncio.sleep(seconds)
            found["beside"] = percentile([each for viewer in others for each in viewer.latencies], 99)
            found["after"] = memory_mib(*bench.cube.webs)
            await asyncio.to_thread(bench.server.stop)
            found["seen"] = len(slow.rows)
            slow.lines_per_second = 0.0  # It has time now.
            await slow.until(sum(each["lines"] for each in bench.cube.oracle("l9")), 20)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

        run(watched(others, during))
        from .exact import screen

        # Who comes to a job of more than 200,000 lines begins near its end.
        verdict = screen(bench, "l9", slow, whole=False)
    awx = references.awx_told(bench, "l9", pods=4, rate=rate / 4, seconds=quick(5, 10))
    alone, beside = found["alone"], found["beside"]
    more = found["after"] - found["before"]
    measured = f"p99 {alone:.0f} ms alone, {beside:.0f} ms beside it"
    bench.row("L9 the others", measured, "≤ 1.1x, or 20 ms more", awx, beside <= max(1.1 * alone, alone + 20))
    bench.row("L9 web memory", f"{more:+.0f} MiB", "< +20 MiB", f"{found['before']:.0f} MiB before", more < 20)
    bench.row("L9 told its lag", f"{slow.most_behind:,} lines", "> 0", f"it had {found['seen']:,.0f} rows then",
              slow.most_behind > 0)  # fmt: skip
    bench.verdict("L9 the slow viewer, in the end", verdict, passed=verdict.is_exact and not slow.again)


def l10(bench: Bench) -> None:
    """500 pods, 10,000 lines/s, 100 requests a second allowed."""
    pods = int(quick(100, 500))
    with bench.collecting(requests_per_second=100, request_burst=50) as collector:
        namespace = bench.cube.jobs["l10"].namespace
        wait_until(lambda: bench.server.stats()["requests"].get("watch"), 120)  # It has its lease and watches.
        begun = time.time_ns()
        names = bench.cube.pods("l10", pods, nodes=8)
        bench.server.write(rate=20, spread=0.05)
        bench.wait_followed(pods, 120)
        opened = bench.server.stats()["opened_at"]
        took = (max(opened.values()) - begun) / 1e9
        viewer = Viewer(bench.cube, "l10", keeps=False, tail=10)
        used: list[Used] = []

        async def during() -> None:
            await asyncio.sleep(3)
            _from_now_on([viewer])
            used.append(Used(collector))
            await asyncio.sleep(quick(6, 20))

        run(watched([viewer], during))
        share, memory = used[0].seconds() / quick(6, 20), memory_mib(collector)
        bench.server.stop()
        refused = bench.server.stats()["requests"].get("refused", 0)
        bench.cube.wait_stored("l10")
        verdict = bench.cube.judge("l10")
        bench.server.rules(requests_per_second=0)
        reference = _kubectl_opens(bench, namespace, names[:50])
    what = f"L10 {pods} pods"
    bench.row(f"{what} open after", f"{took:.1f} s", "≤ 10 s", f"{reference}; {refused} answers 429", took <= 10)
    latencies = viewer.latencies
    passed = bool(latencies) and percentile(latencies, 99) <= 500
    bench.row(f"{what} latency", in_milliseconds(latencies), "p99 ≤ 500 ms", "one viewer of all", passed)
    bench.row(f"{what} collector", f"{share:.2f} cores, {memory:.0f} MiB", "≤ 1 core, ≤ 600 MiB", "",
              share <= 1 and memory <= 600)  # fmt: skip
    bench.verdict(f"{what} stored", verdict)


def _kubectl_opens(bench: Bench, namespace: str, names: list[str]) -> str:
    """How long `kubectl logs -f -l` takes to open 50 follows."""
    before = bench.server.stats()["started"]
    with references.kubeconfig(bench.server, namespace) as environment:
        begun = time.monotonic()
        kubectl = references.Kubectl(environment, "--max-log-requests=1000", "--tail=1", "-l", "cube.io/kind=job")
        while (opened := bench.server.stats()["started"] - before) < len(names) and time.monotonic() - begun < 30:
            time.sleep(0.1)
        took = time.monotonic() - begun
        kubectl.stop()
    return f"kubectl opens {opened} in {took:.1f} s"
