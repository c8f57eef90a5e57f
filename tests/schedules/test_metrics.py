import pytest

from apps.schedules import prometheus
from apps.schedules.models import Schedule

from .conftest import tick

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _one_clock(monkeypatch, clock):
    monkeypatch.setattr(prometheus, "database_now", clock)


def figures():
    lines = prometheus.exposition().decode().splitlines()
    return dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))


def test_lag_and_what_was_not_run_are_counted(make, clock, django_capture_on_commit_callbacks):
    make(overlap="skip")
    with django_capture_on_commit_callbacks(execute=True):
        tick(clock, seconds=30.4)
    with django_capture_on_commit_callbacks(execute=True):
        tick(clock, seconds=60)

    found = figures()

    assert found['cube_schedule_lag_seconds_bucket{le="0.25"}'] == "0.0"
    assert found['cube_schedule_lag_seconds_bucket{le="0.5"}'] == "1.0"
    assert found["cube_schedule_lag_seconds_count"] == "1.0"
    assert float(found["cube_schedule_lag_seconds_sum"]) == pytest.approx(0.4)
    assert found['cube_schedule_slots_unrun_total{reason="Overlap",status="skipped"}'] == "1.0"


def test_what_waits_and_what_cannot_be_launched_are_told(make, clock, django_capture_on_commit_callbacks):
    make()
    Schedule.objects.update(params={"nonsense": 1})
    with django_capture_on_commit_callbacks(execute=True):
        tick(clock, seconds=30)

    found = figures()

    assert found['cube_schedule_slots_waiting{reason="LaunchFailed"}'] == "1.0"
    assert found["cube_schedule_launches_refused_total"] == "1.0"


def test_a_standstill_shows(make, clock):
    make()
    clock.move(seconds=90)

    assert figures()["cube_schedule_overdue_seconds"] == "60.0"
