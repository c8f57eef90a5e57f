"""What is prepared before its moment is nothing until then, and all of it from then on."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connection

from apps.pipelines import services as pipelines
from apps.pipelines.models import Run
from apps.schedules import ahead, engine, starting
from apps.schedules.models import Schedule, Slot

from .conftest import at

needs_row_locks = pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite locks the whole database")
MOMENT = at(12, 1)


@pytest.fixture
def waits(monkeypatch, clock):
    """What others saw of slots and runs at each wait; waiting moves the clock."""
    seen = []

    def sleep(seconds):
        with ThreadPoolExecutor(1) as pool:
            seen.append(pool.submit(count_elsewhere).result())
        clock.move(seconds=seconds)

    monkeypatch.setattr(ahead, "database_now", clock)
    monkeypatch.setattr(starting.timezone, "now", clock)
    monkeypatch.setattr(ahead.time, "sleep", sleep)
    clock.move(seconds=28)
    return seen


def count_elsewhere():
    """In another connection, which sees what is committed."""
    try:
        return Slot.objects.count(), Run.objects.count()
    finally:
        connection.close()


def due():
    return list(Schedule.objects.filter(next_fire_at=MOMENT).order_by("pk").values_list("name", flat=True))


@needs_row_locks
@pytest.mark.django_db(transaction=True)
class TestFireAt:
    def test_nobody_sees_it_before_its_moment(self, make, waits):
        make("a"), make("b")

        ahead.fire_at(MOMENT)

        assert waits == [(0, 0)]
        assert list(Slot.objects.values_list("status", "started_at", "created_at")) == [("running", MOMENT, MOMENT)] * 2
        assert list(Run.objects.values_list("created_at", "updated_at")) == [(MOMENT, MOMENT)] * 2
        assert due() == []

    def test_takes_as_many_batches_as_there_are(self, make, waits, monkeypatch):
        monkeypatch.setattr(engine, "BATCH", 2)
        for number in range(5):
            make(f"s{number}")

        ahead.fire_at(MOMENT)

        assert (Slot.objects.count(), Run.objects.count(), waits) == (5, 5, [(0, 0)])

    def test_leaves_what_something_may_still_decide_about(self, make, make_pipeline, waits):
        upstream = make_pipeline("upstream")
        make("waits", waits_for=[upstream])
        make("busy")
        engine.fire_due()  # nothing yet
        Slot.objects.create(
            uid=Schedule.objects.get(name="busy").uid, schedule=Schedule.objects.get(name="busy"),
            project=upstream.project, logical_at=at(11, 59), due_at=at(11, 59), status="running",
        )  # fmt: skip
        make("plain")

        ahead.fire_at(MOMENT)

        assert due() == ["waits", "busy"]

    def test_gives_up_what_a_new_version_of_the_pipeline_has_outdated(self, make, pipeline, member, waits, monkeypatch):
        make("a")
        real = connection.check_constraints

        def saved_meanwhile():
            monkeypatch.undo()
            with ThreadPoolExecutor(1) as pool:
                pool.submit(save_elsewhere, pipeline, member).result()
            real()

        monkeypatch.setattr(connection, "check_constraints", saved_meanwhile)
        ahead.fire_at(MOMENT)

        assert (Slot.objects.count(), Run.objects.count(), due()) == (0, 0, ["a"])

    def test_gives_up_when_the_clock_is_set_back(self, make, clock, waits, monkeypatch):
        make("a")
        monkeypatch.setattr(ahead.time, "sleep", lambda _seconds: clock.move(minutes=-5))

        ahead.fire_at(MOMENT)

        assert (Slot.objects.count(), due()) == (0, ["a"])

    def test_what_fails_is_left_to_the_tick(self, make, clock, waits, monkeypatch):
        make("a")

        def fail(*_args, **_more):
            raise RuntimeError("no")

        with monkeypatch.context() as patched:
            patched.setattr(engine, "fire", fail)
            ahead.fire_at(MOMENT)
        clock.now = MOMENT
        engine.fire_due()

        assert list(Slot.objects.values_list("status", flat=True)) == ["running"]


def save_elsewhere(pipeline, member):
    try:
        pipelines.describe_pipeline(pipeline=pipeline, description="new", actor=member)
    finally:
        connection.close()


class TestLead:
    @needs_row_locks
    def test_grows_with_the_crowd_up_to_a_limit(self):
        assert [ahead.lead_seconds(count) for count in (0, 900, 100_000)] == [0.1, 1.0, 3.0]

    @pytest.mark.skipif(connection.vendor == "postgresql", reason="PostgreSQL locks rows")
    def test_is_none_where_the_whole_database_would_be_locked(self):
        assert ahead.lead_seconds(1000) == 0.0
