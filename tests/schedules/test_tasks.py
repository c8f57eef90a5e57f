from datetime import UTC, datetime, timedelta

import pytest

from apps.schedules import engine, tasks
from apps.schedules.models import Slot

pytestmark = pytest.mark.django_db


@pytest.fixture
def slept(monkeypatch, clock):
    """Seconds that were waited; waiting moves the clock."""
    waits = []

    def sleep(seconds):
        waits.append(seconds)
        clock.move(seconds=seconds)

    monkeypatch.setattr(tasks.time, "sleep", sleep)
    monkeypatch.setattr(tasks, "database_now", clock)
    monkeypatch.setattr(tasks.ahead, "lead_seconds", lambda _count: 0.0)
    return waits


class TestTick:
    def test_meets_a_time_within_the_second(self, make, clock, slept):
        make()
        clock.move(seconds=29.25)

        tasks.tick()

        assert slept == [0.75]
        assert Slot.objects.count() == 1

    def test_meets_every_time_within_the_second(self, make, clock, slept):
        make(kind="interval", interval_seconds=60)
        clock.move(seconds=0.25)
        make("later", kind="interval", interval_seconds=60)
        clock.move(seconds=59.25)

        tasks.tick()

        assert slept == [0.5, 0.25]
        assert Slot.objects.count() == 2

    def test_does_not_wait_for_what_the_next_tick_meets(self, make, clock, slept):
        make()
        clock.move(seconds=28.75)

        tasks.tick()

        assert slept == []
        assert Slot.objects.count() == 0

    def test_prepares_a_crowd_before_its_moment(self, make, clock, slept, monkeypatch):
        make()
        prepared = []
        monkeypatch.setattr(tasks.ahead, "lead_seconds", lambda _count: 2.0)
        monkeypatch.setattr(tasks.ahead, "fire_at", lambda moment: prepared.append((moment, clock.now)))
        clock.move(seconds=27.5)

        tasks.tick()

        moment = datetime(2026, 11, 25, 12, 1, tzinfo=UTC)
        assert prepared == [(moment, moment - timedelta(seconds=2))]
        assert slept == [0.5, 2.0]
        assert Slot.objects.count() == 1

    def test_asks_for_help_with_a_crowd(self, make, clock, slept, monkeypatch):
        for number in range(5):
            make(f"s{number}")
        asked = []
        monkeypatch.setattr(engine, "BATCH", 2)
        monkeypatch.setattr(tasks.fire_at, "apply_async", lambda **how: asked.append(how["kwargs"]))
        clock.move(seconds=29.5)

        tasks.tick()

        assert asked == [{"moment": datetime(2026, 11, 25, 12, 1, tzinfo=UTC).timestamp(), "count": 5}] * 2
        assert Slot.objects.count() == 5

    def test_help_that_comes_too_early_is_none(self, make, clock, slept):
        make()

        tasks.fire_at(moment=(clock.now + timedelta(seconds=30)).timestamp())

        assert slept == []
        assert Slot.objects.count() == 0
