"""A pipeline, schedules of it, a database clock that tests set, and runs that end as a test says."""

from datetime import UTC, datetime, timedelta

import pytest
from django.utils import timezone

from apps.pipelines import services as pipelines
from apps.pipelines.models import Run
from apps.schedules import backfills, deadlines, engine, following, services, slots
from apps.schedules.models import Schedule, Slot
from tests.factories import TemplateVersionFactory

NOON = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)


class Clock:
    """The database's clock, which only moves when a test moves it."""

    def __init__(self):
        self.now = NOON + timedelta(seconds=30)

    def __call__(self):
        return self.now

    def move(self, **span):
        self.now += timedelta(**span)
        return self.now


@pytest.fixture(autouse=True)
def clock(monkeypatch):
    clock = Clock()
    for module in (engine, following, services, slots, backfills, deadlines):
        monkeypatch.setattr(module, "database_now", clock)
    return clock


@pytest.fixture
def make_pipeline(project, member, cluster_row):
    TemplateVersionFactory()

    def make(name="flow"):
        params = {"properties": {"day": {"type": "string", "default": "x"}}}
        graph = {"params": params, "tasks": {"a": {"template": "echo"}}}
        return pipelines.create_pipeline(project=project, name=name, graph=graph, actor=member)

    return make


@pytest.fixture
def pipeline(make_pipeline):
    return make_pipeline()


@pytest.fixture
def make(project, member, pipeline):
    def make(name="nightly", **asked):
        asked = {"pipeline": pipeline, "cron": "* * * * *", **asked}
        return services.create_schedule(project=project, name=name, actor=member, **asked)

    return make


def at(hour=12, minute=0, second=0, day=25):
    return datetime(2026, 11, day, hour, minute, second, tzinfo=UTC)


def tick(clock, **span):
    clock.move(**span)
    while engine.fire_due() >= engine.BATCH:
        pass
    engine.look_again()


def finish(slot, status="succeeded"):
    """Its run ends, and that is announced."""
    slot = fresh(slot)
    Run.objects.filter(pk=slot.run_id).update(status=status, finished_at=timezone.now())
    following.record_runs(run_ids=[slot.run_id])
    following.follow_runs(run_ids=[slot.run_id])
    return fresh(slot)


def fresh(row):
    return type(row).objects.get(pk=row.pk)


def story(schedule: Schedule):
    """[(minute, status, reason)] of its slots in order."""
    rows = Slot.objects.filter(schedule=schedule).order_by("logical_at")
    return [(f"{slot.logical_at:%H:%M}", slot.status, slot.reason) for slot in rows]


def statuses(schedule: Schedule):
    return [status for _at, status, _reason in story(schedule)]
