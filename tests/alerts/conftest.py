"""A pipeline, a schedule, times and runs that ended as a test says, and channels whose messages are kept in memory."""

from datetime import timedelta
from uuid import uuid4

import pytest
from django.utils import timezone

from apps.alerts import outbox, selectors, services, watching
from apps.alerts.models import Delivery, Incident
from apps.alerts.notifiers import fake
from apps.pipelines.models import Pipeline, Run, Version
from apps.schedules.models import Schedule, Slot


@pytest.fixture(autouse=True)
def _no_messages():
    fake.forget_all()


@pytest.fixture
def pipeline(project):
    pipeline = Pipeline.objects.create(project=project, name="flow")
    Version.objects.create(pipeline=pipeline, number=1, graph={"tasks": {}}, schema={}, parallelism=1, task_count=0)
    return pipeline


@pytest.fixture
def schedule(project, pipeline):
    return Schedule.objects.create(project=project, name="nightly", pipeline=pipeline, cron="@daily")


@pytest.fixture
def channel(project, owner):
    return services.create_channel(project=project, name="on call", kind="webhook", url=URL, actor=owner)


@pytest.fixture
def rule(project, member, channel):
    return services.create_rule(project=project, name="all", channels=[channel], actor=member)


URL = "https://hooks.example.com/services/s3cr3t"


def run(pipeline, status="failed", trigger="manual", message="boom"):
    return Run.objects.create(
        project=pipeline.project,
        pipeline=pipeline,
        pipeline_version=pipeline.versions.get(),
        status=status,
        trigger=trigger,
        message=message,
        finished_at=timezone.now(),
    )


def slot(schedule, status="failed", minutes_ago=0, **more):
    """A time of the schedule that has just ended so."""
    now = timezone.now()
    if status in {"failed", "succeeded"}:
        ended = run(schedule.pipeline, status, "schedule")
        more = {"run": ended, "finished_at": ended.finished_at, "message": ended.message, **more}
    at = now - timedelta(minutes=minutes_ago)
    return Slot.objects.create(
        project=schedule.project, schedule=schedule, uid=uuid4(), logical_at=at, due_at=at, status=status, **more
    )


def look(schedule):
    watching.look(project_id=schedule.project_id, schedule_ids=[schedule.pk], pipeline_ids=[schedule.pipeline_id])


def send_due():
    for delivery_id in selectors.due_deliveries(timezone.now()):
        outbox.send(delivery_id=delivery_id)


def told():
    """What was queued, in order."""
    return list(Delivery.objects.order_by("pk").values_list("change", flat=True))


def incidents():
    """(what, is it open, how often) of each."""
    return [(i.condition, i.is_open, i.count) for i in Incident.objects.order_by("pk")]
