"""A Celery application with one task, for django-celery-beat and RedBeat. Runs in an environment without Cube.

`python reference.py django|redbeat <count>` makes so many entries that are due every minute.
"""

import json
import os
import sys
import time

import django
import redis
from celery import Celery
from celery.schedules import crontab
from django.conf import settings

ARRIVALS, PREFIX = os.environ["REFERENCE_ARRIVALS"], os.environ["REFERENCE_PREFIX"]
REDIS, DATABASE = os.environ["REFERENCE_REDIS"], json.loads(os.environ["REFERENCE_DATABASE"])

settings.configure(
    INSTALLED_APPS=["django_celery_beat"], DATABASES={"default": DATABASE}, USE_TZ=True, TIME_ZONE="UTC",
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
)  # fmt: skip
django.setup()

app = Celery("reference", broker=REDIS)
app.conf.update(
    broker_transport_options={"global_keyprefix": PREFIX}, task_ignore_result=True, timezone="UTC",
    redbeat_redis_url=REDIS, redbeat_key_prefix=f"{PREFIX}redbeat:",
)  # fmt: skip
client = redis.Redis.from_url(REDIS)


@app.task(name="note")
def note(name: str) -> None:
    """What a slot leads to: that it was consumed, and when."""
    client.rpush(ARRIVALS, f"{name} {time.time()}")


def make_django(count: int) -> None:
    from django.core.management import call_command
    from django_celery_beat.models import CrontabSchedule, PeriodicTask, PeriodicTasks

    call_command("migrate", verbosity=0)
    minute = CrontabSchedule.objects.create()
    PeriodicTask.objects.bulk_create(
        [
            PeriodicTask(name=f"s{n}", task="note", crontab=minute, kwargs=json.dumps({"name": f"s{n}"}))
            for n in range(count)
        ],
        batch_size=1000,
    )
    PeriodicTasks.update_changed()


def make_redbeat(count: int) -> None:
    from redbeat import RedBeatSchedulerEntry

    for n in range(count):
        RedBeatSchedulerEntry(f"s{n}", "note", crontab(), kwargs={"name": f"s{n}"}, app=app).save()


if __name__ == "__main__":
    {"django": make_django, "redbeat": make_redbeat}[sys.argv[1]](int(sys.argv[2]))
