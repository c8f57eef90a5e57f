from datetime import timedelta

import pytest

from apps.core import events
from apps.schedules import backfills, deadlines, services, slots, tasks
from apps.schedules.events import DeadlinesPassed
from apps.schedules.models import Slot

from .conftest import at, finish, statuses, tick

pytestmark = pytest.mark.django_db


@pytest.fixture
def heard(monkeypatch):
    """Names of the schedules whose passed deadlines are announced, batch by batch."""
    batches = []
    monkeypatch.setitem(events._handlers, DeadlinesPassed, [lambda event: batches.append(len(event.schedules))])
    return batches


@pytest.fixture
def announce(django_capture_on_commit_callbacks):
    def announce(**asked):
        with django_capture_on_commit_callbacks(execute=True):
            return deadlines.announce_passed(**asked)

    return announce


class TestAnnouncePassed:
    def test_tells_once_of_a_time_that_has_not_ended_by_its_deadline(self, make, clock, heard, announce):
        make(deadline_seconds=40)
        tick(clock, seconds=30)  # 12:01:00
        clock.move(seconds=39)
        early = announce()
        clock.move(seconds=1)

        assert (early, announce(), announce()) == (0, 1, 0)
        assert heard == [1]

    def test_is_silent_about_what_ended_in_time_and_about_backfills(self, make, clock, member, heard, announce):
        schedule = make(deadline_seconds=40, end_at=at(12, 1))
        tick(clock, seconds=30)
        finish(Slot.objects.get(), "failed")
        backfills.start_backfill(schedule=schedule, from_at=at(11), to_at=at(11, 2), actor=member)
        clock.move(seconds=50)

        assert set(statuses(schedule)) >= {"failed", "running"}
        assert announce() == 0
        assert heard == []

    def test_what_is_run_once_more_is_told_of_again(self, make, clock, member, heard, announce):
        make(deadline_seconds=40)
        tick(clock, seconds=30)
        clock.move(seconds=50)
        announce()
        finish(Slot.objects.get(), "failed")
        slots.run_slot(slot=Slot.objects.get(), actor=member)

        assert announce() == 1
        assert heard == [1, 1]

    def test_a_crowd_is_told_of_in_batches(self, make, clock, heard, announce):
        for number in range(3):
            make(f"s{number}", deadline_seconds=1)
        tick(clock, seconds=32)

        assert (announce(limit=2), announce(limit=2), announce(limit=2)) == (2, 1, 0)
        assert heard == [2, 1]

    def test_the_tick_of_each_second_does_it(self, make, clock, heard, monkeypatch, django_capture_on_commit_callbacks):
        monkeypatch.setattr(tasks, "database_now", clock)
        make(deadline_seconds=40)
        tick(clock, seconds=30)
        clock.move(seconds=41)

        with django_capture_on_commit_callbacks(execute=True):
            tasks.tick()

        assert heard == [1]

    def test_costs_one_query_while_nothing_is_late(self, make, clock, announce, django_assert_num_queries):
        make(deadline_seconds=40)
        tick(clock, seconds=30)

        with django_assert_num_queries(1):
            announce()


class TestMove:
    @pytest.mark.parametrize(("seconds", "late_at"), [(90, at(12, 1) + timedelta(seconds=90)), (None, None)])
    def test_another_deadline_holds_for_what_has_not_ended(self, make, clock, member, seconds, late_at):
        schedule = make(deadline_seconds=40)
        tick(clock, seconds=30)

        services.edit_schedule(schedule=schedule, deadline_seconds=seconds, actor=member)

        assert Slot.objects.get().late_at == late_at

    def test_what_has_ended_has_none_any_more(self, make, clock, member):
        schedule = make(deadline_seconds=40)
        tick(clock, seconds=30)
        finish(Slot.objects.get())

        services.edit_schedule(schedule=schedule, deadline_seconds=90, actor=member)

        assert Slot.objects.get().late_at is None
