"""SIGKILL, for real: a worker process is killed while it works on a database file, another one goes on."""

import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from cube.settings import test as settings_of_tests

ROOT = Path(__file__).resolve().parents[2]
KILLED_AFTER = 3  # rounds of work, somewhere in the next
SEED = """
from django.core.management import call_command
call_command("migrate", verbosity=0)
from tests.factories import ClusterFactory, ProjectFactory, TemplateVersionFactory
from apps.pipelines import services
ClusterFactory(is_default=True); project = ProjectFactory(); TemplateVersionFactory()
tasks = {f"t{n}": {"template": "echo", "needs": [f"t{n - 1}"] if n else []} for n in range(12)}
tasks |= {"fan": {"template": "echo", "for_each": list(range(12))}, "end": {"template": "echo", "needs": ["fan"]}}
services.start_run(pipeline=services.create_pipeline(project=project, name="flow", graph={"tasks": tasks}, actor=None))
"""
# A worker and a cluster in one: sweeps, and lets jobs succeed, a line for each round, until it is killed or done.
WORKER = """
from apps.jobs import services as jobs
from apps.jobs.choices import UNFINISHED
from apps.jobs.models import Job
from apps.pipelines import sweep, tasks
from apps.pipelines.choices import RUN_FINISHED
from apps.pipelines.models import Run
sweep.PATIENCE *= 0
sweep.STALE *= 0
while Run.objects.exclude(status__in=RUN_FINISHED).exists():
    tasks.sweep_runs()
    print("swept", flush=True)
    for job_id in Job.objects.filter(status__in=UNFINISHED).values_list("pk", flat=True)[:3]:
        jobs.record_outcome(job_id=job_id, attempt=1, succeeded=True)
"""


@pytest.fixture
def environment(tmp_path):
    return {
        **os.environ,
        "CUBE_DATA_DIR": str(tmp_path),
        "CUBE_TEST_DATABASE_URL": f"sqlite:///{tmp_path / 'kills.sqlite3'}",
        "DJANGO_SETTINGS_MODULE": settings_of_tests.__name__,
        "CUBE_LOG_LEVEL": "ERROR",
    }


def start(environment, code):
    command = [sys.executable, "manage.py", "shell", "--no-imports", "--command", code]
    return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE)  # noqa: S603


def finish(process):
    process.communicate(timeout=100)
    assert process.returncode == 0


def test_each_task_is_one_job_though_a_worker_is_killed(environment, tmp_path):
    finish(start(environment, SEED))

    victim = start(environment, WORKER)
    for _round in range(KILLED_AFTER):
        victim.stdout.readline()
    victim.send_signal(signal.SIGKILL)
    victim.communicate()
    assert victim.returncode == -signal.SIGKILL
    finish(start(environment, WORKER))

    with sqlite3.connect(tmp_path / "kills.sqlite3") as rows:
        assert rows.execute("SELECT status, unfinished_tasks, task_rows FROM pipelines_run").fetchall() == [
            ("succeeded", 0, 26)
        ]
        statuses = rows.execute("SELECT status, count(*) FROM pipelines_taskrun GROUP BY status").fetchall()
        assert statuses == [("succeeded", 26)]
        jobs = rows.execute("SELECT count(*), count(DISTINCT uid) FROM jobs_job").fetchall()
        tries = rows.execute("SELECT count(*), count(DISTINCT task_id) FROM pipelines_tasktry").fetchall()
        assert jobs == tries == [(25, 25)]
