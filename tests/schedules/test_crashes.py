"""A process may die at any statement: what it left is nothing, or all; and the next tick does the rest, once."""

import pytest
from django.db import connection

from apps.pipelines.models import Run
from apps.schedules import engine, following, slots
from apps.schedules.models import Slot

from .conftest import finish, statuses, story, tick

pytestmark = pytest.mark.django_db


class Died(Exception):
    """Stands for kill -9."""


class DieAt:
    """Counts the statements that write, and ends the process at the nth."""

    def __init__(self, nth):
        self.left = nth

    def __call__(self, execute, sql, params, many, context):
        if sql.lstrip().upper().startswith(("INSERT", "UPDATE", "DELETE")):
            self.left -= 1
            if self.left == 0:
                raise Died
        return execute(sql, params, many, context)


def dying_everywhere(act):
    """Run `act` and let it die at each write in turn, then whole. Returns at how many places it died."""
    for nth in range(1, 60):
        try:
            with connection.execute_wrapper(DieAt(nth)):
                act()
        except Died:
            continue
        return nth - 1
    raise AssertionError("it writes for ever")


def runs_are_once():
    """Each slot that runs has one run of its time, and no run is anybody else's."""
    found = sorted(Run.objects.values_list("logical_at", flat=True))
    assert found == sorted(set(found))
    assert Slot.objects.filter(status="running", run__isnull=True).count() == 0
    assert Run.objects.filter(slots__isnull=True).count() == 0


def test_a_tick_that_dies_at_any_write_makes_each_slot_once(make, clock):
    schedule = make(max_active_runs=2, catch_up="all")
    clock.move(minutes=2)

    assert dying_everywhere(engine.fire_due) >= 3
    tick(clock)

    assert statuses(schedule) == ["running", "running"]
    runs_are_once()


def test_a_tick_of_dependent_slots_too(make, clock):
    schedule = make(max_active_runs=2, depends_on_past="succeeded", catch_up="all")
    clock.move(minutes=2)

    assert dying_everywhere(engine.fire_due) >= 3

    assert statuses(schedule) == ["running", "waiting"]
    runs_are_once()


def test_an_end_that_dies_at_any_write_is_taken_over_once(make, clock):
    schedule = make(run_retries=0)
    tick(clock, seconds=30)
    tick(clock, seconds=60)
    first = Slot.objects.earliest("logical_at")
    Run.objects.update(status="succeeded")

    assert dying_everywhere(lambda: following.record_runs(run_ids=[first.run_id])) >= 2

    assert statuses(schedule) == ["succeeded", "running"]
    runs_are_once()


def test_a_person_s_verb_that_dies_at_any_write_has_done_nothing(make, clock, member):
    schedule = make()
    tick(clock, seconds=30)
    tick(clock, seconds=60)
    second = Slot.objects.latest("logical_at")

    assert dying_everywhere(lambda: slots.run_slot(slot=second, actor=member)) >= 3

    assert statuses(schedule) == ["running", "running"]
    runs_are_once()


def test_every_message_may_come_twice(make, clock):
    schedule = make()
    tick(clock, seconds=30)
    first = Slot.objects.get()
    finish(first)
    tick(clock, seconds=60)

    following.record_runs(run_ids=[first.run_id])
    following.sweep()

    assert story(schedule) == [("12:01", "succeeded", ""), ("12:02", "running", "")]
    assert Run.objects.count() == 2
