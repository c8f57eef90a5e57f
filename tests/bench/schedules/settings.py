"""Cube as it is, but for the cluster: an API server that answers after ten milliseconds and counts what it accepted."""

from django.db.backends.signals import connection_created

from cube.settings.base import *  # noqa: F403
from tests.bench.schedules import deaths

CUBE_GATEWAY = "tests.bench.schedules.stub.StubGateway"
LOGGING_CONFIG = None
DJANGO_STRUCTLOG_CELERY_ENABLED = False

# A second is also how long a killed process's work may lie; the sweep of the cluster itself has nothing to see here.
CELERY_BEAT_SCHEDULE = {
    name: entry
    for name, entry in CELERY_BEAT_SCHEDULE.items()  # noqa: F405
    if name in {"schedules-tick", "schedules-sweep", "pipelines-sweep", "pipelines-lost", "jobs-sweep", "jobs-lost"}
}

connection_created.connect(deaths.wrap)
