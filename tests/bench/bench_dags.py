"""`make bench-dags`: S7. One run of 3,000 tasks, fan-out and fan-in; then 100 runs at once, each a chain of 100 tasks.

On PostgreSQL (CUBE_TEST_DATABASE_URL, or 127.0.0.1:5432) in a database of its own, else on SQLite and not judged. A
process does what a worker does: the messages that handlers send wait in a queue, and are taken from it one by one; two
such workers share the chains. The cluster is a stub: a job ends as soon as it is queued, its rows changed in bulk, and
that is announced job by job, as the watch would. A third run also launches every job through the gateway's fake and
observes its end, which is the cost of jobs and not of pipelines, so it is told and not judged. QUICK=1: a tenth.
Airflow runs the same graphs afterwards, in an environment of its own that pip makes in var/bench (REFERENCES=0: not).

A transition is a change of a task's status: to ready, to submitted (with its job), to succeeded: three for each task.
"""

import multiprocessing
import os
import signal
import sys
import time
from collections import Counter, deque
from concurrent.futures import ProcessPoolExecutor
from typing import Any
from unittest import mock

from tests.bench.database import database
from tests.bench.references import dagruns
from tests.bench.table import Row, percentile, report

QUICK = os.environ.get("QUICK") == "1"
WIDE = 300 if QUICK else 3_000
CHAINS, LENGTH = (10, 100) if QUICK else (100, 100)
FULL = 60 if QUICK else 300
TRANSITIONS_PER_SECOND = 300.0
WORKERS = 2
MOVES = 3  # of a task: ready, submitted, succeeded
STEP_SECONDS = 1.0
ENDED_AT_ONCE = 200
AIRFLOW = "Airflow considers 500-1,000 tasks/s (#31185)"


def wide(count: int) -> dict[str, Any]:
    """One task, then all but two that need it, then one that needs all of them."""
    middle = [f"m{n}" for n in range(count - 2)]
    tasks: dict[str, Any] = {"first": {"template": "echo"}}
    tasks |= {key: {"template": "echo", "needs": ["first"], "params": {"text": key}} for key in middle}
    tasks["last"] = {"template": "echo", "needs": middle}
    return {"parallelism": 500, "tasks": tasks}


def chain(length: int) -> dict[str, Any]:
    return {"tasks": {f"t{n}": {"template": "echo", **({"needs": [f"t{n - 1}"]} if n else {})} for n in range(length)}}


def launches(task: str, asked: dict[str, Any]) -> list[int]:
    """The jobs that a message asks to launch."""
    if task == "apps.jobs.tasks.launch_jobs":
        return list(asked["job_ids"])
    return [asked["job_id"]] if task == "apps.jobs.tasks.launch_job" else []


class Workers:
    """The queue between handlers and tasks, and a cluster behind it."""

    def __init__(self, *, launching: bool) -> None:
        self.launching = launching
        self.waiting: deque[tuple[Any, dict[str, Any]]] = deque()
        self.queued: list[int] = []
        self.ended_at: dict[tuple[int, str], float] = {}
        self.steps: list[float] = []

    def send(self, task: Any, args: Any = None, kwargs: Any = None, **_options: Any) -> None:
        launched = launches(task.name, kwargs or {})
        if launched and not self.launching:
            self.queued += launched
        else:
            self.waiting.append((task, kwargs or {}))

    def run(self) -> float:
        """Work until nothing is left. Returns the seconds it took."""
        begun = time.perf_counter()
        while self.waiting or self.queued:
            if self.queued and (len(self.queued) >= ENDED_AT_ONCE or not self.waiting):
                self.end_jobs()
                continue
            task, kwargs = self.waiting.popleft()
            task.run(**kwargs)
            for job_id in launches(task.name, kwargs):
                self.observe_end(job_id)
        return time.perf_counter() - begun

    def end_jobs(self) -> None:
        """The cluster: whatever was queued has succeeded."""
        from django.utils import timezone

        from apps.core.events import publish
        from apps.jobs.choices import JobStatus
        from apps.jobs.events import JobStatusChanged
        from apps.jobs.models import Job

        ids, self.queued = self.queued, []
        self.note_steps(ids)
        Job.objects.filter(pk__in=ids).update(status=JobStatus.SUCCEEDED, version=2, finished_at=timezone.now())
        for job in Job.objects.filter(pk__in=ids).only("uid", "project_id"):
            publish(JobStatusChanged(job.pk, str(job.uid), job.project_id, JobStatus.SUCCEEDED, 2))

    def note_steps(self, ids: list[int]) -> None:
        """How long ago the task before each of these ended, in a chain."""
        from apps.pipelines.models import TaskRun

        now = time.perf_counter()
        for run, key in TaskRun.objects.filter(job__in=ids).values_list("run_id", "key"):
            self.ended_at[run, key] = now
            if key.startswith("t") and (before := self.ended_at.get((run, f"t{int(key[1:]) - 1}"))):
                self.steps.append(now - before)

    def observe_end(self, job_id: int) -> None:
        """The watch tells that a launched job is complete."""
        from apps.clusters import gateway
        from apps.clusters.events import WorkloadObserved
        from apps.jobs import handlers
        from apps.jobs.launching import OURS
        from apps.jobs.models import Job

        job = Job.objects.select_related("project", "cluster").get(pk=job_id)
        (found,) = (
            gateway.connect(job.cluster).list("batch/v1", "Job", labels={**OURS, "cube.io/uid": str(job.uid)}).items
        )
        found["status"] = {"conditions": [{"type": "Complete", "status": "True"}]}
        place = found["metadata"]
        handlers.take_in_sighting(
            WorkloadObserved(
                cluster_id=job.cluster_id, kind="Job", namespace=place["namespace"], name=place["name"],
                workload_kind="job", workload_uid=str(job.uid), deleted=False, manifest=found,
            )
        )  # fmt: skip


def work(graph: dict[str, Any], runs: int, *, launching: bool = False) -> tuple[Workers, float, int]:
    """Start runs of a graph and work until they have ended. Returns the workers, seconds, and task rows."""
    from apps.pipelines import services
    from apps.pipelines.models import Run, TaskRun
    from apps.projects.models import Project

    project, workers = Project.objects.get(), Workers(launching=launching)
    name = f"bench {Run.objects.count()} {os.getpid()}"
    pipeline = services.create_pipeline(project=project, name=name, graph=graph, actor=None)
    with mock.patch("celery.app.task.Task.apply_async", new=lambda task, *a, **k: workers.send(task, *a, **k)):
        services.start_runs([services.NewRun(pipeline=pipeline) for _ in range(runs)])
        seconds = workers.run()
    statuses = Counter(pipeline.runs.values_list("status", flat=True))
    if statuses != {"succeeded": runs}:
        raise SystemExit(f"runs ended as {statuses}")
    return workers, seconds, TaskRun.objects.filter(run__pipeline=pipeline, status="succeeded").count()


def chains_of_one(runs: int) -> tuple[list[float], int]:
    """What one of several workers does: its share of the chains. Returns seconds of each step, and tasks done."""
    workers, _seconds, tasks = work(chain(LENGTH), runs)
    return workers.steps, tasks


def share_chains() -> tuple[list[float], float, int]:
    """All chains, by `WORKERS` processes at once. Returns seconds of each step, seconds altogether, tasks done."""
    from django.db import connections

    connections.close_all()  # A child must not use its parent's.
    with ProcessPoolExecutor(WORKERS, mp_context=multiprocessing.get_context("fork")) as pool:
        begun = time.perf_counter()
        done = list(pool.map(chains_of_one, [CHAINS // WORKERS] * WORKERS))
        seconds = time.perf_counter() - begun
    return [step for steps, _tasks in done for step in steps], seconds, sum(tasks for _steps, tasks in done)


def main() -> int:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that a time limit cleans up too
    with database() as (url, is_postgres):
        os.environ |= {"CUBE_TEST_DATABASE_URL": url, "DJANGO_SETTINGS_MODULE": "cube.settings.test"}
        os.environ["CUBE_LOG_LEVEL"] = "WARNING"
        import django

        django.setup()
        try:
            return measure(is_postgres)
        finally:
            from django.db import connections

            connections.close_all()


def channel_layers() -> dict[str, Any]:
    """As in production where a Redis is at hand (CUBE_REDIS_URL, or 127.0.0.1:6379); none otherwise."""
    import redis

    url = os.environ.get("CUBE_REDIS_URL", "redis://127.0.0.1:6379/9")
    try:
        redis.from_url(url, socket_connect_timeout=1).ping()
    except redis.RedisError:
        sys.stdout.write("no Redis: nothing is pushed to browsers\n")
        return {}
    layer = {"BACKEND": "apps.core.channels.RedisChannelLayer", "CONFIG": {"hosts": [url], "prefix": "bench"}}
    return {"default": layer}


def measure(is_postgres: bool) -> int:
    from django.conf import settings
    from django.core.management import call_command

    from tests.factories import ClusterFactory, ProjectFactory, TemplateVersionFactory

    settings.CELERY_TASK_ALWAYS_EAGER = False
    settings.CHANNEL_LAYERS = channel_layers()
    call_command("migrate", verbosity=0)
    ClusterFactory(is_default=True), ProjectFactory(), TemplateVersionFactory()
    work(wide(20), 1)  # warm
    _workers, wide_seconds, wide_tasks = work(wide(WIDE), 1)
    steps, chain_seconds, chain_tasks = share_chains()
    _workers, full_seconds, full_tasks = work(wide(FULL), 1, launching=True)
    load = f"load {os.getloadavg()[0]:.1f}, {'PostgreSQL' if is_postgres else 'SQLite'}"
    airflow_wide, airflow_chains = dagruns.told_rates(WIDE, CHAINS, LENGTH, AIRFLOW)

    def judged(passed: bool) -> bool | None:
        return passed if is_postgres else None

    wide_rate, chain_rate = MOVES * wide_tasks / wide_seconds, MOVES * chain_tasks / chain_seconds
    step = percentile(steps, 99)
    bar = f"≥ {TRANSITIONS_PER_SECOND:.0f}"
    return report(
        [
            Row("S7 wide, transitions/s", f"{wide_rate:.0f}", bar, "", judged(wide_rate >= TRANSITIONS_PER_SECOND)),
            Row(
                "S7 wide, tasks/s",
                f"{wide_tasks / wide_seconds:.0f} ({wide_tasks:,} tasks in {wide_seconds:.1f} s)",
                "",
                airflow_wide,
            ),
            Row("S7 chains, transitions/s", f"{chain_rate:.0f}", bar, "", judged(chain_rate >= TRANSITIONS_PER_SECOND)),
            Row(
                "S7 chains, tasks/s",
                f"{chain_tasks / chain_seconds:.0f} ({CHAINS} runs of {LENGTH} tasks, {WORKERS} workers)",
                "",
                airflow_chains,
            ),
            Row("S7 chains, step p99", f"{step:.2f} s", "≤ 1 s", load, judged(step <= STEP_SECONDS)),
            Row(
                "with launch and observation",
                f"{full_tasks / full_seconds:.0f} tasks/s",
                "",
                "one process, gateway's fake",
            ),
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
