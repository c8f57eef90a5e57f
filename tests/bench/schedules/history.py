"""Years of finished runs, made by the database itself from those that a measurement has left."""

import sys
import time
from typing import Any

CHUNK = 500_000  # rows a statement
SPREAD = 1000  # schedules that share the past
# What a copy has instead of its original's: `n` counts from one, and a table's name stands for its highest key before.
RUN, TASK, JOB = "{pipelines_run} + n", "{pipelines_taskrun} + n", "{jobs_job} + n"
AT = "timestamptz '2020-01-01' - (n / {spread}) * interval '1 minute'"
ENDED = {"status": "'succeeded'", "started_at": AT, "finished_at": AT, "created_at": AT, "updated_at": AT}
TABLES: dict[str, dict[str, str]] = {
    "pipelines_run": {
        "id": RUN, "uid": "gen_random_uuid()", "logical_at": AT, "unfinished_tasks": "0", "active_tasks": "0", **ENDED,
    },
    "schedules_slot": {
        "id": "{schedules_slot} + n", "uid": "gen_random_uuid()", "logical_at": AT, "due_at": AT, "run_id": RUN,
        "schedule_id": "({schedules})[1 + n % {spread}]", "check_at": "NULL", **ENDED,
    },
    "jobs_job": {"id": JOB, "uid": "gen_random_uuid()", "taken_until": "NULL", **ENDED},
    "jobs_attempt": {"id": "{jobs_attempt} + n", "job_id": JOB, **ENDED},
    "pipelines_taskrun": {"id": TASK, "run_id": RUN, "job_id": JOB, "ready_at": AT, **ENDED},
    "pipelines_tasktry": {"id": "{pipelines_tasktry} + n", "task_id": TASK, "job_id": JOB, "at": AT},
}  # fmt: skip


def make(count: int) -> None:
    """`count` finished runs, each with its slot, task, try, job and attempt; what the measurement left is gone.

    The schedules stay and have the past. Foreign keys are not checked row by row: the copies refer to each other.
    """
    from django.db import connection

    with connection.cursor() as cursor:
        bases = {table: _newest(cursor, table) for table in TABLES}
        schedules = _keys(cursor)
        facts = {**bases, "schedules": f"ARRAY{schedules}", "spread": len(schedules)}
        cursor.execute("SET session_replication_role = replica")
        cursor.execute("SET synchronous_commit = off")
        for table, changes in TABLES.items():
            _fill(cursor, table, {name: value.format(**facts) for name, value in changes.items()}, count)
        cursor.execute("RESET session_replication_role")
        cursor.execute("RESET synchronous_commit")
        _forget(bases)
        for table in TABLES:
            cursor.execute(f"SELECT setval(pg_get_serial_sequence('{table}', 'id'), (SELECT max(id) FROM {table}))")  # noqa: S608
            cursor.execute(f"VACUUM ANALYZE {table}")


def _newest(cursor: Any, table: str) -> int:
    cursor.execute(f"SELECT max(id) FROM {table}")  # noqa: S608
    return int(cursor.fetchone()[0])


def _keys(cursor: Any) -> list[int]:
    cursor.execute("SELECT id FROM schedules_schedule ORDER BY id LIMIT %s", [SPREAD])
    return [key for (key,) in cursor.fetchall()]


def _fill(cursor: Any, table: str, changes: dict[str, str], count: int) -> None:
    begun = time.monotonic()
    cursor.execute(
        "SELECT column_name FROM information_schema.columns WHERE table_name = %s ORDER BY ordinal_position", [table]
    )
    columns = [name for (name,) in cursor.fetchall()]
    values = ", ".join(changes.get(name, f'o."{name}"') for name in columns)
    names = ", ".join(f'"{name}"' for name in columns)
    cursor.execute(f"CREATE TEMP TABLE one_{table} AS SELECT * FROM {table} ORDER BY id LIMIT 1")  # noqa: S608
    for since in range(0, count, CHUNK):
        until = min(since + CHUNK, count)
        cursor.execute(
            f"INSERT INTO {table} ({names}) SELECT {values} FROM one_{table} o, generate_series({since + 1}, {until}) n"  # noqa: S608
        )
        sys.stdout.write(f"  {table}: {until:,} of {count:,} rows, {time.monotonic() - begun:.0f} s\n")
        sys.stdout.flush()


def _forget(bases: dict[str, int]) -> None:
    """Delete what the measurement left, so that the next one finds no more unfinished work than it did."""
    from apps.jobs.models import Job
    from apps.pipelines.models import Run
    from apps.schedules.models import Slot

    Slot.objects.filter(pk__lte=bases["schedules_slot"]).delete()
    Run.objects.filter(pk__lte=bases["pipelines_run"]).delete()
    Job.objects.filter(pk__lte=bases["jobs_job"]).delete()
