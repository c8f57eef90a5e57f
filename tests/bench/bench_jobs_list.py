"""`make bench-jobs-list`: the list page and the API with 200,000 jobs in 200 projects.

On PostgreSQL (CUBE_TEST_DATABASE_URL, or 127.0.0.1:5432) in a database of its own, else on SQLite and not judged.
QUICK=1: 20,000 jobs. Queries must not depend on the number of jobs; the 95th percentile must stay under 150 ms.
"""

import logging
import os
import random
import signal
import sys
import time
from typing import Any

from tests.bench.database import database
from tests.bench.table import Row, percentile, report

QUICK = os.environ.get("QUICK") == "1"
PROJECTS, JOBS = 200, 20_000 if QUICK else 200_000
REQUESTS = 60 if QUICK else 200
P95_MILLISECONDS = 150
BATCH = 5_000


def fill() -> Any:
    """Rows as services would have left them; a developer of twenty of the projects. Returns that person."""
    from django.db import connection

    from apps.jobs.choices import JobStatus
    from apps.jobs.models import Job
    from apps.projects.models import Project
    from apps.projects.roles import Role
    from apps.projects.services import set_role
    from tests.factories import ClusterFactory, TemplateVersionFactory, UserFactory

    cluster, version, user = ClusterFactory(is_default=True), TemplateVersionFactory(), UserFactory()
    Project.objects.bulk_create(Project(slug=f"bench-{n:03}", name=f"Bench {n}") for n in range(PROJECTS))
    projects = list(Project.objects.all())
    for project in projects[:20]:
        set_role(project=project, user=user, role=Role.DEVELOPER)
    dice = random.Random(7)  # noqa: S311  The same rows every time.
    statuses = [JobStatus.SUCCEEDED] * 80 + [JobStatus.FAILED] * 15 + [JobStatus.RUNNING] * 3 + [JobStatus.QUEUED] * 2
    made = (
        Job(
            project=dice.choice(projects),
            name=f"train-{number}",
            cluster=cluster,
            template_version=version,
            params={"text": "hello"},
            resources={"cpu": "1", "memory": "1Gi"},
            status=dice.choice(statuses),
            submitted_by=user,
        )
        for number in range(JOBS)
    )
    Job.objects.bulk_create(made, batch_size=BATCH)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
    return user


def measure(user: Any, path: str) -> tuple[list[float], set[int]]:
    """Milliseconds of each request, and the numbers of queries seen, after a warm-up."""
    from django.db import connection, reset_queries
    from django.test import Client
    from django.test.utils import CaptureQueriesContext

    client = Client(HTTP_HOST="localhost")
    client.force_login(user)
    times, counts = [], set()
    for number in range(REQUESTS + 5):
        reset_queries()
        target = path.format(f"bench-{number % 20:03}")
        begun = time.perf_counter()
        answer = client.get(target)
        took = (time.perf_counter() - begun) * 1000
        if answer.status_code != 200:
            raise SystemExit(f"{target} answered {answer.status_code}")
        if number >= 5:
            times.append(took)
    for number in range(5):
        with CaptureQueriesContext(connection) as seen:
            client.get(path.format(f"bench-{number:03}"))
        counts.add(len(seen))
    return times, counts


def main() -> int:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that a time limit cleans up too
    with database() as (url, is_postgres):
        os.environ.update(CUBE_TEST_DATABASE_URL=url, DJANGO_SETTINGS_MODULE="cube.settings.test")
        import django

        django.setup()
        logging.disable(logging.INFO)  # a line per request on the console would be measured too
        from django.core.management import call_command
        from django.db import connections

        call_command("migrate", verbosity=0)
        begun = time.monotonic()
        user = fill()
        sys.stdout.write(f"{JOBS} jobs in {PROJECTS} projects made in {time.monotonic() - begun:.0f} s\n")
        rows = []
        for what, path in PAGES.items():
            times, counts = measure(user, path)
            p95 = percentile(times, 95)
            judged = p95 < P95_MILLISECONDS if is_postgres else None
            engine = "PostgreSQL" if is_postgres else "SQLite, not judged"
            rows.append(Row(f"{what}: p50", f"{percentile(times, 50):.0f} ms", "", engine))
            rows.append(Row(f"{what}: p95", f"{p95:.0f} ms", f"< {P95_MILLISECONDS} ms", engine, judged))
            rows.append(Row(f"{what}: queries", "/".join(map(str, sorted(counts))), "constant", "", len(counts) == 1))
        connections.close_all()
        return report(rows)


PAGES = {
    "list page": "/projects/{}/jobs/",
    "list page, failed": "/projects/{}/jobs/?status=failed",
    "list page, search": "/projects/{}/jobs/?q=train-19",
    "API": "/api/v1/projects/{}/jobs/",
    "API, failed": "/api/v1/projects/{}/jobs/?status=failed",
    "overview": "/",
}

if __name__ == "__main__":
    sys.exit(main())
