"""Rows for the scenarios, and what became of them, read straight from the database."""

import time
from datetime import UTC, datetime, timedelta
from typing import Any

TEMPLATE_SCHEMA = {"type": "object", "properties": {}, "additionalProperties": False}
BODY = {"image": "busybox", "command": ["true"]}


def prepare() -> Any:
    """Tables, a project, a cluster, a pipeline of one task. Returns the pipeline."""
    from django.core.management import call_command

    from apps.accounts.models import User
    from apps.clusters.models import Cluster
    from apps.jobtemplates.models import JobTemplate, TemplateVersion
    from apps.pipelines import services as pipelines
    from apps.projects.models import Project

    call_command("migrate", verbosity=0)
    user = User.objects.create(username="bench")
    template = JobTemplate.objects.create(slug="nothing", name="Nothing")
    TemplateVersion.objects.create(template=template, number=1, schema=TEMPLATE_SCHEMA, body=BODY)
    Cluster.objects.create(
        slug="default", name="Stub", kubeconfig="stub", health="healthy", version="v1.36.2", is_default=True,
        capabilities=["batch/v1", "networking.k8s.io/v1", "v1"], has_default_storage=True,
    )  # fmt: skip
    project = Project.objects.create(slug="bench", name="Bench")
    graph = {"tasks": {"only": {"template": "nothing"}}}
    return pipelines.create_pipeline(project=project, name="flow", graph=graph, actor=user)


def prepare_once() -> Any:
    """The pipeline of this scenario's database, made with all else when there is none."""
    from django.db import connection

    from apps.pipelines.models import Pipeline

    if "pipelines_pipeline" not in connection.introspection.table_names():
        return prepare()
    return Pipeline.objects.select_related("project").get(name="flow")


def forget_runs() -> None:
    from apps.schedules.models import Schedule

    Schedule.objects.all().delete()


def make_history(count: int) -> None:
    """Finished runs and slots of a schedule that is no longer due, written by the database itself."""
    from django.db import connection

    pipeline = prepare_once()
    make_schedules(pipeline, 1, first=next_minute(3600 * 24 * 365), prefix="old")
    with connection.cursor() as cursor:
        cursor.execute("CREATE TEMP TABLE one_run AS SELECT * FROM pipelines_run ORDER BY id LIMIT 1")
        cursor.execute("CREATE TEMP TABLE one_slot AS SELECT * FROM schedules_slot ORDER BY id LIMIT 1")
        _copies(cursor, "pipelines_run", "one_run", count, {"status": "'succeeded'"})
        old = "(SELECT id FROM schedules_schedule WHERE name = 'old0')"
        changes = {"status": "'succeeded'", "schedule_id": old, "run_id": "NULL", "check_at": "NULL"}
        _copies(cursor, "schedules_slot", "one_slot", count, changes)
        cursor.execute("ANALYZE pipelines_run")
        cursor.execute("ANALYZE schedules_slot")


def _copies(cursor: Any, table: str, source: str, count: int, changes: dict[str, str]) -> None:
    """`count` rows like the one of `source`, a minute apart, before 2020."""
    past = "timestamptz '2020-01-01' - n * interval '1 minute'"
    changes = {"uid": "gen_random_uuid()", "logical_at": past, **changes}
    cursor.execute("SELECT column_name FROM information_schema.columns WHERE table_name = %s", [table])
    columns = [name for (name,) in cursor.fetchall() if name != "id"]
    values = ", ".join(changes.get(name, f'o."{name}"') for name in columns)
    names = ", ".join(f'"{name}"' for name in columns)
    cursor.execute(f"INSERT INTO {table} ({names}) SELECT {values} FROM {source} o, generate_series(1, {count}) n")  # noqa: S608


def make_schedules(pipeline: Any, count: int, *, first: datetime, prefix: str = "s", **rules: Any) -> None:
    """Due each minute from `first` on."""
    from apps.schedules.models import Schedule

    rules = {"cron": "* * * * *", "overlap": "parallel", "anchor_at": first - timedelta(minutes=1), **rules}
    made = [
        Schedule(
            project=pipeline.project, pipeline=pipeline, name=f"{prefix}{number}", next_logical_at=first,
            next_fire_at=first, **rules,
        )
        for number in range(count)
    ]  # fmt: skip
    Schedule.objects.bulk_create(made, batch_size=1000)


def next_minute(lead: float = 8.0) -> datetime:
    """The next full minute that is at least so many seconds away."""
    now = datetime.now(UTC) + timedelta(seconds=lead)
    return now.replace(second=0, microsecond=0) + timedelta(minutes=1)


COUNT = "SELECT count(*) FROM schedules_slot WHERE id > %s AND logical_at = %s AND run_id IS NOT NULL"


def newest_slot() -> int:
    """So that watching reads only what is new, whatever history there is."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("SELECT coalesce(max(id), 0) FROM schedules_slot")
        return int(cursor.fetchone()[0])


def watch(minutes: list[datetime], expected: int, *, until: float, every: float = 0.05) -> dict[str, list[float]]:
    """Seconds from each minute to when its run rows could be read by others, one entry a row."""
    from django.db import connection

    rows: list[float] = []
    since = newest_slot()
    seen = dict.fromkeys(minutes, 0)
    end = time.time() + until
    while time.time() < end and any(count < expected for count in seen.values()):
        for minute in minutes:
            late = time.time() - minute.timestamp()
            if late < 0 or seen[minute] >= expected:
                continue
            with connection.cursor() as cursor:
                cursor.execute(COUNT, [since, minute])
                count = cursor.fetchone()[0]
            rows.extend([time.time() - minute.timestamp()] * (count - seen[minute]))
            seen[minute] = count
        time.sleep(every)
    return {"rows": rows}


def accepted_lags(minutes: list[datetime]) -> list[float]:
    """Seconds from each slot's time to the moment the stub accepted its job."""
    from apps.pipelines.models import TaskTry
    from tests.bench.schedules.stub import accepted

    taken = accepted()
    tries = TaskTry.objects.filter(task__run__logical_at__in=minutes)
    pairs = tries.values_list("job__uid", "task__run__logical_at")
    return [taken[str(uid)] - at.timestamp() for uid, at in pairs if str(uid) in taken]


def exactness(minutes: list[datetime], schedules: int) -> tuple[int, int, int]:
    """(slots missing, runs doubled, jobs doubled) over these minutes."""
    from django.db.models import Count

    from apps.pipelines.models import Run, TaskTry
    from apps.schedules.models import Slot

    found = Slot.objects.filter(logical_at__in=minutes, run__isnull=False)
    missing = schedules * len(minutes) - found.count()
    runs = Run.objects.filter(logical_at__in=minutes).count()
    doubled = runs - found.values("run").distinct().count()
    tries = TaskTry.objects.filter(task__run__logical_at__in=minutes).values("task").annotate(n=Count("pk"))
    return missing, doubled, tries.filter(n__gt=1).count()
