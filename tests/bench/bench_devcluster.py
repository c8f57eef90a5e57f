"""`make bench-devcluster`: how fast the development cluster is, and that it leaves nothing behind.

A devcluster of its own, spoken to over its unix socket. SOAK=1 (`make bench-devcluster-soak`) runs only the soak:
10,000 short jobs in a row, after which nothing may be left. QUICK=1: a minute, with fewer of everything.
"""

import asyncio
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from apps.devcluster.client import JOBS, PODS, Client, Object, Resource
from tests.bench.table import Row, percentile, report

ROOT = Path(__file__).resolve().parents[2]
QUICK, SOAK = os.environ.get("QUICK") == "1", os.environ.get("SOAK") == "1"
RUN_PODS = 200 if QUICK else 2_000
OBJECTS = 2_000 if QUICK else 20_000
SOAK_JOBS = int(os.environ.get("JOBS", "300" if QUICK else "10000"))
WATCHERS, CHANGES = 50, 200
AT_ONCE = 32  # requests, and pods of the pod run, under way at a time
IDLE_SECONDS = 10 if QUICK else 30
START_SECONDS, IDLE_PERCENT = 2.0, 1.0
PODS_PER_SECOND, LIST_SECONDS, DELIVERED_PER_SECOND, WATCH_P99_SECONDS, MEMORY_MIB = 25, 3.0, 5_000, 1.0, 600
SETTLE_SECONDS = 35  # an idle connection is let go after 15 to 30
NAMESPACE = "bench"
NAMESPACES, MAPS = Resource("namespaces", kind="Namespace"), Resource("configmaps", kind="ConfigMap")
ENDED = {"Succeeded", "Failed"}


@dataclass
class Devcluster:
    """The process, what it said when it was ready, and how long that took."""

    folder: Path
    process: psutil.Popen
    started_in: float

    def client(self) -> Client:
        return Client(str(self.folder / "api.sock"), "inside")

    def rows(self) -> int:
        with sqlite3.connect(f"file:{self.folder / 'objects.sqlite3'}?mode=ro", uri=True) as connection:
            return int(connection.execute("SELECT count(*) FROM objects").fetchone()[0])

    def processor_seconds(self) -> float:
        """Of the threads that live, exactly: the usual times count clock ticks, which short wake-ups fall between."""
        threads = Path(f"/proc/{self.process.pid}/task")
        if not threads.exists():
            used = self.process.cpu_times()
            return float(used.user + used.system)
        return sum(int(each.read_text().split()[0]) for each in threads.glob("*/schedstat")) / 1e9


def start(folder: Path) -> Devcluster:
    begun = time.monotonic()
    process = psutil.Popen(
        [sys.executable, "-m", "apps.devcluster", "start", "--data-dir", str(folder)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
    )
    ready = json.loads(process.stdout.readline())
    assert ready["ready"]
    return Devcluster(folder, process, time.monotonic() - begun)


async def in_turns(count: int, step: Callable[[int], Awaitable[Any]], what: str) -> float:
    """`step(0)` … `step(count - 1)`, a few at a time, with progress; the seconds it took."""
    numbers, begun, done = iter(range(count)), time.monotonic(), 0

    async def work() -> None:
        nonlocal done
        for number in numbers:
            await step(number)
            done += 1
            if done % max(1, count // 20) == 0:
                sys.stdout.write(f"\r{what}: {done} of {count}, {done / (time.monotonic() - begun):.0f}/s ".ljust(60))
                sys.stdout.flush()

    await asyncio.gather(*(work() for _ in range(AT_ONCE)))
    sys.stdout.write("\n")
    return time.monotonic() - begun


def pod(name: str) -> Object:
    container = {"name": "main", "image": "busybox", "command": ["true"], "resources": {"requests": {"cpu": "1m"}}}
    return {"metadata": {"name": name}, "spec": {"restartPolicy": "Never", "containers": [container]}}


class Ends:
    """Tells when an object of a kind has ended, by one watch for all."""

    def __init__(self, client: Client, resource: Resource, ended: Callable[[Object], bool]) -> None:
        self._client, self._resource, self._ended = client, resource, ended
        self._waiting: dict[str, asyncio.Event] = {}

    async def run(self) -> None:
        _, version = await self._client.list(self._resource, NAMESPACE)
        while True:
            async for event in self._client.watch(self._resource, version):
                version = event["object"]["metadata"]["resourceVersion"]
                name = event["object"]["metadata"].get("name", "")
                if name in self._waiting and (event["type"] == "DELETED" or self._ended(event["object"])):
                    self._waiting.pop(name).set()

    def of(self, name: str) -> asyncio.Event:
        return self._waiting.setdefault(name, asyncio.Event())


# -- the measures ------------------------------------------------------------------------------------------------------
async def idle(cluster: Devcluster) -> Row:
    await asyncio.sleep(3)
    before = cluster.processor_seconds()
    await asyncio.sleep(IDLE_SECONDS)
    share = 100 * (cluster.processor_seconds() - before) / IDLE_SECONDS
    return Row("idle", f"{share:.3f} % of a core", f"< {IDLE_PERCENT:g} %", f"{IDLE_SECONDS} s", share < IDLE_PERCENT)


async def run_pods(client: Client) -> list[Row]:
    ends = Ends(client, PODS, lambda found: (found.get("status") or {}).get("phase") in ENDED)
    watching = asyncio.create_task(ends.run())

    async def one(number: int) -> None:
        over = ends.of(f"p-{number}")
        await client.create(PODS, NAMESPACE, pod(f"p-{number}"))
        await over.wait()

    seconds = await in_turns(RUN_PODS, one, "pods of `true`")
    watching.cancel()
    found, _ = await client.list(PODS, NAMESPACE)
    succeeded = sum(item["status"]["phase"] == "Succeeded" for item in found)
    rate = RUN_PODS / seconds
    return [
        Row("pods succeeded", f"{succeeded} of {RUN_PODS}", f"{RUN_PODS}", "", succeeded == RUN_PODS),
        Row("pods of `true` to completion", f"{rate:.0f}/s", f"≥ {PODS_PER_SECOND}", "", rate >= PODS_PER_SECOND),
    ]


async def many_objects(cluster: Devcluster, client: Client) -> list[Row]:
    async def one(number: int) -> None:
        await client.create(MAPS, NAMESPACE, {"metadata": {"name": f"m-{number}"}, "data": {"text": "x" * 200}})

    seconds = await in_turns(OBJECTS, one, "objects stored")
    begun = time.monotonic()
    listed, version = await client.list(MAPS, NAMESPACE, limit="0")
    took = time.monotonic() - begun
    rate, worst = await fan_out(client, version)
    memory = cluster.process.memory_info().rss / 2**20
    return [
        Row("objects stored", f"{OBJECTS / seconds:.0f}/s", "", f"{OBJECTS} in all"),
        Row("all of them listed", f"{took:.2f} s", f"≤ {LIST_SECONDS:g} s", f"{len(listed)}", took <= LIST_SECONDS),
        Row("watch events delivered", f"{rate:.0f}/s", f"≥ {DELIVERED_PER_SECOND}", f"{WATCHERS} watchers",
            rate >= DELIVERED_PER_SECOND),
        Row("watch latency p99", f"{worst:.3f} s", f"≤ {WATCH_P99_SECONDS:g} s", f"{CHANGES} changes at once",
            worst <= WATCH_P99_SECONDS),
        Row("memory", f"{memory:.0f} MiB", f"≤ {MEMORY_MIB}", "resident", memory <= MEMORY_MIB),
    ]  # fmt: skip


async def fan_out(client: Client, version: str) -> tuple[float, float]:
    """Events delivered a second, and the 99th percentile of seconds from a change's request to its event."""
    sent: dict[str, float] = {}
    latencies: list[float] = []
    ready = asyncio.Semaphore(0)

    async def watch() -> None:
        events, left = client.watch(MAPS, version), CHANGES
        ready.release()
        async for event in events:
            latencies.append(time.monotonic() - sent[event["object"]["metadata"]["name"]])
            left -= 1
            if not left:
                return

    watchers = [asyncio.create_task(watch()) for _ in range(WATCHERS)]
    for _ in watchers:
        await ready.acquire()
    await asyncio.sleep(0.5)
    begun = time.monotonic()

    async def change(number: int) -> None:
        sent[f"m-{number}"] = time.monotonic()
        await client.patch(MAPS, NAMESPACE, f"m-{number}", {"data": {"text": "changed"}})

    await in_turns(CHANGES, change, "changes watched")
    await asyncio.wait_for(asyncio.gather(*watchers), 60)
    return WATCHERS * CHANGES / (time.monotonic() - begun), percentile(latencies, 99)


# -- the soak ----------------------------------------------------------------------------------------------------------
async def soak(cluster: Devcluster) -> list[Row]:
    """What is there after the first hundred jobs must be there, and no more, after all of them."""
    await run_jobs(cluster, 100, "jobs to warm up")
    before = await settled(cluster)
    seconds = await run_jobs(cluster, SOAK_JOBS, "jobs in a row")
    after = await settled(cluster)
    rows = [Row("jobs succeeded and gone", f"{SOAK_JOBS}", "", f"{SOAK_JOBS / seconds:.1f} jobs/s")]
    had = before.pop("threads")
    rows.append(Row("threads", f"{after.pop('threads')}", "", f"{had} before; a pool grows to its size"))
    for what, had in before.items():
        more = after[what] - had
        rows.append(Row(f"{what} left behind", str(max(0, more)), "0", f"{had} before, {after[what]} after", more <= 0))
    memory = cluster.process.memory_info().rss / 2**20
    return [*rows, Row("memory", f"{memory:.0f} MiB", "", "resident")]


async def run_jobs(cluster: Devcluster, count: int, what: str) -> float:
    client = cluster.client()
    await client.create(NAMESPACES, None, {"metadata": {"name": NAMESPACE}})
    ends = Ends(client, JOBS, _is_complete)
    watching = asyncio.create_task(ends.run())
    await asyncio.sleep(0.5)

    async def one(number: int) -> None:
        over = ends.of(f"j-{number}")
        template = {"spec": pod("")["spec"]}
        await client.create(JOBS, NAMESPACE, {"metadata": {"name": f"j-{number}"}, "spec": {"template": template}})
        await over.wait()
        await client.delete(JOBS, NAMESPACE, f"j-{number}", {"propagationPolicy": "Background"})

    seconds = await in_turns(count, one, what)
    watching.cancel()
    await client.delete(NAMESPACES, None, NAMESPACE)
    while NAMESPACE in [item["metadata"]["name"] for item in (await client.list(NAMESPACES))[0]]:
        await asyncio.sleep(0.5)
    await client.close()
    return seconds


def _is_complete(job: Object) -> bool:
    return any(c["type"] == "Complete" and c["status"] == "True" for c in job["status"].get("conditions") or ())


async def settled(cluster: Devcluster) -> dict[str, int]:
    """Once nothing has changed for longer than an idle connection is kept: what a leak would add to."""
    found: dict[str, int] = {}
    while (now := inventory(cluster)) != found:
        found = now
        await asyncio.sleep(SETTLE_SECONDS)
    return found


def inventory(cluster: Devcluster) -> dict[str, int]:
    process = cluster.process
    return {
        "processes": len(process.children(recursive=True)),
        "threads": process.num_threads(),
        "open files": process.num_fds(),
        "sockets": len(process.net_connections(kind="all")),
        "rows": cluster.rows(),
        "files and folders": sum(1 for _ in cluster.folder.rglob("*")),
        "control groups": sum(1 for _ in Path("/sys/fs/cgroup").rglob("*devcluster*")),
    }


async def measure(cluster: Devcluster) -> list[Row]:
    if SOAK:
        return await soak(cluster)
    took = cluster.started_in
    rows = [Row("start", f"{took:.2f} s", f"< {START_SECONDS:g} s", f"{os.cpu_count()} cores", took < START_SECONDS)]
    rows.append(await idle(cluster))
    client = cluster.client()
    await client.create(NAMESPACES, None, {"metadata": {"name": NAMESPACE}})
    await asyncio.sleep(0.5)
    rows += await run_pods(client)
    rows += await many_objects(cluster, client)
    await client.close()
    return rows


def main() -> int:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that a time limit cleans up too
    folder = Path(tempfile.mkdtemp(prefix="cube-bench-"))
    cluster = start(folder / "devcluster")
    try:
        return report(asyncio.run(measure(cluster)))
    finally:
        cluster.process.terminate()
        cluster.process.wait(20)
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
