"""`make bench-submit`: 1,000 submissions by 8 clients to a Cube of its own, the worker killed -9 twice on the way.

Every accepted job must be exactly one Kubernetes Job and succeed: nothing lost, nothing doubled. On PostgreSQL where it
answers (as `bench_jobs_list`), else, or with SQLITE=1, on SQLite. QUICK=1: 200 submissions.
"""

import asyncio
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from datetime import datetime
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import psutil
import psycopg

from tests.bench.database import database
from tests.bench.processor import Processor
from tests.bench.table import Row, percentile, report
from tests.journeys import running

CLIENTS = 8
QUICK = os.environ.get("QUICK") == "1"
JOBS = int(os.environ.get("JOBS", "200" if QUICK else "1000"))
ACCEPTED_PER_SECOND = 100.0
FINISH_WITHIN_SECONDS = 120 if QUICK else 1500
KILL_AFTER = (0.3, 0.7)  # shares of the submissions
# Small, so that the pods' own work says little about Cube's.
BODY = {
    "template": "command",
    "params": {"image": "busybox", "command": "true"},
    "resources": {"cpu": "1m~1", "memory": "4Mi~64Mi"},
}


async def submit_all(cube: running.Cube, token: str) -> tuple[list[str], float, list[str]]:
    """uids of what was accepted, the seconds it took, and what was said to the rest."""
    numbers = iter(range(JOBS))
    uids: list[str] = []
    refusals: list[str] = []
    kills = [int(JOBS * share) for share in KILL_AFTER]

    async def client(session: aiohttp.ClientSession) -> None:
        for number in numbers:
            if number in kills:
                await asyncio.to_thread(kill_worker, cube)
            async with session.post("/api/v1/projects/demo/jobs/", json={"name": f"bench-{number}", **BODY}) as answer:
                text = await answer.text()
                if answer.status == 201:
                    uids.append(orjson.loads(text)["uid"])
                else:
                    refusals.append(f"{answer.status} {text[:200]}")

    headers = {"Authorization": f"Bearer {token}"}
    async with aiohttp.ClientSession(cube.url, headers=headers) as session:
        begun = time.monotonic()
        await asyncio.gather(*(client(session) for _ in range(CLIENTS)))
        return uids, time.monotonic() - begun, refusals


def kill_worker(cube: running.Cube) -> None:
    try:
        cube.child("celery", "worker").kill()
    except (StopIteration, psutil.NoSuchProcess):
        sys.stdout.write("the worker was not there to be killed\n")


def rows_of(cube: running.Cube, query: str) -> list[tuple[Any, ...]]:
    """Straight from the database: reading through the API would disturb what is measured."""
    if url := cube.settings.get("CUBE_DATABASE_URL", ""):
        with psycopg.connect(url) as server:
            return server.execute(query).fetchall()
    with sqlite3.connect(f"file:{cube.data / 'cube.sqlite3'}?mode=ro", uri=True, timeout=30) as connection:
        return connection.execute(query).fetchall()


def moment(value: Any) -> datetime:
    return value if isinstance(value, datetime) else datetime.fromisoformat(value)


def wait_until_finished(cube: running.Cube) -> float:
    begun = time.monotonic()
    query = "SELECT status, count(*) FROM jobs_job WHERE name LIKE 'bench-%' GROUP BY status"
    while time.monotonic() - begun < FINISH_WITHIN_SECONDS:
        counts = dict(rows_of(cube, query))
        open_jobs = sum(number for status, number in counts.items() if status not in running.FINISHED)
        sys.stdout.write(f"\r{counts}".ljust(100) + "\r")
        sys.stdout.flush()
        if not open_jobs:
            break
        time.sleep(1)
    sys.stdout.write("\n")
    return time.monotonic() - begun


def launch_latencies(cube: running.Cube) -> list[float]:
    """Seconds from the submission of a job to the first event that says it starts."""
    found = rows_of(
        cube,
        "SELECT j.created_at, min(e.at) FROM jobs_job j JOIN jobs_jobevent e ON e.job_id = j.id "
        "WHERE j.name LIKE 'bench-%' AND e.status IN ('starting', 'running') GROUP BY j.id",
    )
    return [(moment(at) - moment(since)).total_seconds() for since, at in found]


def kubernetes_jobs(cube: running.Cube) -> Counter[str]:
    """Job objects per uid label, those with a bench name or not: what really exists on the cluster."""
    command = [str(Path(sys.executable).parent / "kubectl"), "get", "jobs", "-A", "-o", "json"]
    config = {"KUBECONFIG": str(cube.data / "devcluster" / "kubeconfig"), "PATH": os.environ["PATH"]}
    answer = subprocess.run(command, env=config, capture_output=True, check=True)  # noqa: S603
    return Counter(item["metadata"]["labels"]["cube.io/uid"] for item in orjson.loads(answer.stdout)["items"])


def main() -> int:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that a time limit cleans up too
    folder = Path(tempfile.mkdtemp(prefix="cube-bench-"))
    try:
        with database() as (url, is_postgres):
            use_it = is_postgres and os.environ.get("SQLITE") != "1"
            where = {"CUBE_DATABASE_URL": url} if use_it else {}
            with running.running(folder / "data", CUBE_API_RATE="1000000/min", **where) as cube:
                running.wait_until_told(cube, "First job", seconds=120)
                return measure(cube, "PostgreSQL" if use_it else "SQLite")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def measure(cube: running.Cube, database_name: str) -> int:
    token = cube.manage("create_token", "ada")
    with Processor(cube) as processor:
        uids, seconds, refusals = asyncio.run(submit_all(cube, token))
        submitting = processor.by_part()
        finished_in = wait_until_finished(cube)
    statuses = Counter(row[1] for row in rows_of(cube, "SELECT uid, status FROM jobs_job WHERE name LIKE 'bench-%'"))
    latencies = launch_latencies(cube)
    objects = kubernetes_jobs(cube)
    lost = sum(1 for uid in uids if not objects[uid]) + len(uids) - statuses["succeeded"]
    doubled = sum(1 for uid in uids if objects[uid] > 1)
    rate = len(uids) / seconds
    machine = f"{os.cpu_count()} cores, {database_name}"
    for refusal in refusals[:3]:
        sys.stdout.write(f"refused: {refusal}\n")
    return report(
        [
            Row("accepted", f"{len(uids)} of {JOBS}", f"{JOBS}", "", len(uids) == JOBS),
            Row("accepted per second", f"{rate:.0f}", "≥ 100", machine, rate >= ACCEPTED_PER_SECOND),
            Row("launch latency p50", f"{percentile(latencies, 50):.1f} s", "", "worker killed twice"),
            Row("launch latency p99", f"{percentile(latencies, 99):.1f} s", "", "worker killed twice"),
            Row("all finished after", f"{finished_in:.0f} s", "", f"{JOBS / max(finished_in, 1):.1f} jobs/s"),
            Row("lost", str(lost), "0", "", lost == 0),
            Row("doubled", str(doubled), "0", "", doubled == 0),
            *processor_rows(submitting, processor.by_part()),
        ]
    )


def processor_rows(submitting: dict[str, float], altogether: dict[str, float]) -> list[Row]:
    """Where the processor time of a job goes: what its submission costs, and what all of its life does."""
    while_submitting = 1000 * submitting.get("web", 0.0) / JOBS
    parts = ", ".join(f"{part} {1000 * used / JOBS:.1f}" for part, used in sorted(altogether.items()))
    return [
        Row("web, per submission", f"{while_submitting:.1f} ms", "", "processor time"),
        Row("all parts, per job", f"{1000 * sum(altogether.values()) / JOBS:.1f} ms", "", parts),
    ]


if __name__ == "__main__":
    sys.exit(main())
