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
    """No schedules, and nothing of what became of them."""
    from apps.jobs.models import Job
    from apps.pipelines.models import Run
    from apps.schedules.models import Schedule

    for model in (Schedule, Run, Job):
        model.objects.all().delete()


def make_due(pipeline: Any, count: int, *, first: datetime, last: datetime) -> None:
    """So many schedules due each minute from `first` to `last`: new ones, or those that were made so before."""
    from apps.schedules.models import Schedule

    made = Schedule.objects.filter(name__startswith="due")
    if not made.exists():
        make_schedules(pipeline, count, first=first, prefix="due", end_at=last)
    made.update(next_logical_at=first, next_fire_at=first, anchor_at=first - timedelta(minutes=1), end_at=last)


def make_schedules(pipeline: Any, count: int, *, first: datetime, prefix: str = "s", **rules: Any) -> None:
    """Due each minute from `first` on."""
    rules = {"cron": "* * * * *", "anchor_at": first - timedelta(minutes=1), **rules}
    _create_schedules(pipeline, prefix, [(first, rules)] * count)


def make_staggered(pipeline: Any, count: int, *, first: datetime, every: timedelta, prefix: str) -> None:
    """Due each minute, each `every` later than the one before it."""
    times = [first + every * number for number in range(count)]
    rules = {"kind": "interval", "interval_seconds": 60}
    _create_schedules(pipeline, prefix, [(at, {**rules, "anchor_at": at}) for at in times])


def _create_schedules(pipeline: Any, prefix: str, asked: list[tuple[datetime, dict[str, Any]]]) -> None:
    from apps.schedules.models import Schedule

    made = [
        Schedule(
            project=pipeline.project, pipeline=pipeline, name=f"{prefix}{number}", next_logical_at=first,
            next_fire_at=first, **{"overlap": "parallel", **rules},
        )
        for number, (first, rules) in enumerate(asked)
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
