"""A stand-in of AWX's way of logs, for comparison: not AWX, its design as its documentation and settings tell it.

Events are pushed on a Redis list (readers wait while it holds 10,000); 4 worker processes take them, insert at most
1,000 rows at a time or what there is after a second into PostgreSQL, and only then send each event to its job's group,
except those above 30 a second and job, which a viewer never gets. The viewer listens to the groups through the
same channel layer Cube uses. Each pod counts as a job of its own here, so that the cap of 30 hits as seldom as it can.
"""

import asyncio
import multiprocessing
import sys
import time
from collections import deque
from typing import TYPE_CHECKING, Any

import aiohttp
import orjson
import psutil
import psycopg
import redis
import redis.asyncio

from tests.bench.table import percentile

if TYPE_CHECKING:
    from .bench import Bench

WORKERS, ROWS, SECONDS, MOST_QUEUED, SHOWN_PER_SECOND = 4, 1000, 1.0, 10_000, 30
COLUMNS = "id bigserial PRIMARY KEY, job text, counter bigint, stamp text, stdout text"
TABLE = f"CREATE TABLE IF NOT EXISTS awx_event ({COLUMNS})"


def work(database: str, url: str, prefix: str) -> None:
    """One callback worker."""
    from channels_redis.pubsub import RedisPubSubChannelLayer

    async def run() -> None:
        layer = RedisPubSubChannelLayer(hosts=[url], prefix=f"{prefix}:awx")
        queue = redis.Redis.from_url(url)
        connection = psycopg.connect(database, autocommit=True)
        rows: list[Any] = []
        begun = time.monotonic()
        while True:
            taken: Any = queue.lpop(f"{prefix}:awx-events", ROWS - len(rows))
            rows += [orjson.loads(each) for each in taken or ()]
            if rows and (len(rows) >= ROWS or time.monotonic() - begun >= SECONDS):
                values = [value for row in rows for value in row[:4]]
                places = ",".join(["(%s,%s,%s,%s)"] * len(rows))
                connection.execute(f"INSERT INTO awx_event (job, counter, stamp, stdout) VALUES {places}", values)  # noqa: S608
                for job, counter, stamp, text, is_shown in rows:
                    if is_shown:
                        event = {"type": "event", "counter": counter, "stamp": stamp, "text": text}
                        await layer.group_send(f"awx.{job}", event)
                rows, begun = [], time.monotonic()
            elif not taken:
                await asyncio.sleep(0.01)

    asyncio.run(run())


def read(url: str, prefix: str, server: str, namespace: str, pods: list[str]) -> None:
    """The follows: one per pod, lines pushed on the list as they come."""

    async def follow(session: aiohttp.ClientSession, queue: "redis.asyncio.Redis", pod: str) -> None:
        address = f"{server}/api/v1/namespaces/{namespace}/pods/{pod}/log?follow=true&timestamps=true"
        recent: deque[float] = deque(maxlen=SHOWN_PER_SECOND)
        rest, counter = b"", 0
        async with session.get(address) as response:
            async for chunk in response.content.iter_any():
                *whole, rest = (rest + chunk).split(b"\n")
                events = []
                for line in whole:
                    now = time.monotonic()
                    is_shown = len(recent) < SHOWN_PER_SECOND or now - recent[0] >= 1
                    if is_shown:
                        recent.append(now)
                    events.append(orjson.dumps([pod, counter, line[:30].decode(), line[31:].decode(), is_shown]))
                    counter += 1
                if events:
                    await queue.rpush(f"{prefix}:awx-events", *events)  # type: ignore[misc]
                while await queue.llen(f"{prefix}:awx-events") > MOST_QUEUED:  # type: ignore[misc]
                    await asyncio.sleep(0.01)

    async def run() -> None:
        queue = redis.asyncio.Redis.from_url(url)
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), read_bufsize=2**18) as session:
            await asyncio.gather(*(follow(session, queue, pod) for pod in pods))

    asyncio.run(run())


async def view(url: str, prefix: str, pods: list[str], seconds: float, cut_every: float) -> tuple[list[float], int]:
    """Latencies in ms of what one viewer of all the pods got, at most once; and how many."""
    from channels_redis.pubsub import RedisPubSubChannelLayer

    from .viewers import WRITTEN

    layer = RedisPubSubChannelLayer(hosts=[url], prefix=f"{prefix}:awx", capacity=10_000)
    latencies: list[float] = []
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        channel = await layer.new_channel()
        for pod in pods:
            await layer.group_add(f"awx.{pod}", channel)
        cut = min(ends, time.monotonic() + cut_every) if cut_every else ends
        while (left := cut - time.monotonic()) > 0:
            try:
                event = await asyncio.wait_for(layer.receive(channel), left)
            except TimeoutError:
                break
            if found := WRITTEN.search(event["text"].encode()):
                latencies.append((time.time_ns() - int(found[1])) / 1e6)
        for pod in pods:
            await layer.group_discard(f"awx.{pod}", channel)
        await asyncio.sleep(0.3)  # until a browser is back
    return latencies, len(latencies)


def measure(bench: "Bench", job: str, *, pods: int, rate: float, seconds: float, cut_every: float) -> str:
    """Run it with pods of `job`; rate 0: as fast as they are read."""
    cube, server, url = bench.cube, bench.server, bench.cube.settings["CUBE_REDIS_URL"]
    prefix, spawn = f"{cube.settings['CUBE_REDIS_PREFIX']}", multiprocessing.get_context("spawn")
    with psycopg.connect(bench.database, autocommit=True) as connection:
        connection.execute("DROP TABLE IF EXISTS awx_event")
        connection.execute(TABLE)
    names = [f"awx-{job}-{at}" for at in range(pods)]
    server.pods(namespace="awx", names=names, labels={})
    arguments = (url, prefix, server.url, "awx", names)
    processes = [spawn.Process(target=work, args=(bench.database, url, prefix), daemon=True) for _ in range(WORKERS)]
    processes.append(spawn.Process(target=read, args=arguments, daemon=True))
    for process in processes:
        process.start()
    try:
        _warm_up(bench, names)
        before = {process.pid: _seconds(process.pid) for process in processes}
        first = _stored(bench.database)
        if rate:
            server.write(pods=names, rate=rate, spread=0.1)
        else:
            server.flat(seconds=seconds, pods=names)
        latencies, shown = asyncio.run(view(url, prefix, names, seconds, cut_every))
        server.stop(pods=names)
        stored = _stored(bench.database) - first
        written = sum(run["lines"] for run in server.oracle(pods=names)) - first
        used = sum(_seconds(process.pid) - before[process.pid] for process in processes)
    finally:
        for process in processes:
            process.kill()
            process.join()
    told = f"{stored / seconds:,.0f} rows/s stored, {1e6 * used / max(1, stored):.0f} CPU s per million"
    p50, p99 = percentile(latencies, 50), percentile(latencies, 99)
    return f"{told}; p50 {p50:.0f}, p99 {p99:.0f} ms; {100 * shown / max(1, written):.0f} % shown"


def _warm_up(bench: "Bench", names: list[str]) -> None:
    """Until every process has done some work: how long Python starts is not what is compared."""
    bench.server.write(pods=names, lines=20)
    deadline = time.monotonic() + 60
    while _stored(bench.database) < 20 * len(names) and time.monotonic() < deadline:
        time.sleep(0.2)


def _stored(database: str) -> int:
    with psycopg.connect(database, autocommit=True) as connection:
        return int((connection.execute("SELECT count(*) FROM awx_event").fetchone() or (0,))[0])


def _seconds(pid: int | None) -> float:
    used = psutil.Process(pid).cpu_times()
    return float(used.user + used.system)


if __name__ == "__main__":
    sys.exit("It is run by bench_logs.")
