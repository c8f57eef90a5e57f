"""SIGKILL, for real: processes that fire the same schedules are killed at their work, and others go on."""

import os
import sqlite3
import subprocess
import sys
from pathlib import Path

from cube.settings import test as settings_of_tests

ROOT = Path(__file__).resolve().parents[2]
SCHEDULES = 12
TIMES = 30
SEED = f"""
from datetime import timedelta
from django.core.management import call_command
call_command("migrate", verbosity=0)
from tests.factories import ClusterFactory, ProjectFactory, TemplateVersionFactory
from apps.pipelines import services
from apps.schedules.clock import database_now
from apps.schedules.models import Schedule
ClusterFactory(is_default=True); project = ProjectFactory(); TemplateVersionFactory()
graph = {{"tasks": {{"a": {{"template": "echo"}}}}}}
flow = services.create_pipeline(project=project, name="flow", graph=graph, actor=None)
last = database_now().replace(second=0, microsecond=0)
first = last - timedelta(minutes={TIMES - 1})
for number in range({SCHEDULES}):
    Schedule.objects.create(
        project=project, pipeline=flow, name=f"s{{number}}", cron="* * * * *", overlap="parallel", catch_up="all",
        next_logical_at=first, next_fire_at=first, end_at=last,
    )
"""
# One schedule at a time, a line for each round, until nothing is due.
FIRE = """
from unittest import mock
from celery.app.task import Task
from apps.schedules import engine
with mock.patch.object(Task, "apply_async"):
    while engine.fire_due(limit=1):
        print("fired", flush=True)
"""


def start(environment, code):
    command = [sys.executable, "manage.py", "shell", "--no-imports", "--command", code]
    return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE)  # noqa: S603


def test_each_time_is_made_once_though_whoever_makes_it_is_killed(tmp_path):
    file = tmp_path / "kills.sqlite3"
    environment = {
        **os.environ,
        "CUBE_DATA_DIR": str(tmp_path),
        "CUBE_TEST_DATABASE_URL": f"sqlite:///{file}",
        "DJANGO_SETTINGS_MODULE": settings_of_tests.__name__,
        "CUBE_LOG_LEVEL": "ERROR",
    }
    with start(environment, SEED) as seeding:
        assert seeding.wait() == 0

    for rounds in (1, 3):
        with start(environment, FIRE) as firing:
            for _round in range(rounds):
                assert firing.stdout.readline()
            firing.kill()
    with start(environment, FIRE) as firing:
        firing.stdout.read()
        assert firing.wait() == 0

    with sqlite3.connect(file) as rows:
        slots = rows.execute("SELECT count(*), count(DISTINCT run_id) FROM schedules_slot").fetchone()
        runs = rows.execute("SELECT count(*), count(DISTINCT uid) FROM pipelines_run").fetchone()
    assert slots == runs == (SCHEDULES * TIMES, SCHEDULES * TIMES)
