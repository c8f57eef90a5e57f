import pytest

from apps.accounts.models import AuditEntry
from apps.core.errors import InvalidInput, InvalidTransition
from apps.pipelines.models import Run
from apps.schedules import backfills, slots
from apps.schedules.models import Backfill, Slot

from .conftest import at, finish, fresh, statuses, story, tick

pytestmark = pytest.mark.django_db


@pytest.fixture
def waiting(make, clock):
    """The second of two slots: it waits for the first, which runs."""
    make()
    tick(clock, seconds=30)
    tick(clock, seconds=60)
    return Slot.objects.latest("logical_at")


class TestSkip:
    def test_leaves_a_waiting_time_out_with_who_and_why(self, waiting, member):
        slot = slots.skip_slot(slot=waiting, note="holiday", actor=member)

        assert (slot.status, slot.reason, slot.message) == ("skipped", "ByHand", f"By {member.username}: holiday")
        assert AuditEntry.objects.get(action="slot.skip").actor == member

    def test_refuses_what_runs(self, waiting, member):
        running = Slot.objects.earliest("logical_at")

        with pytest.raises(InvalidTransition):
            slots.skip_slot(slot=running, actor=member)

        assert fresh(running).status == "running"

    def test_a_coming_time_is_not_run_when_it_comes(self, make, clock, member):
        schedule = make(cron="*/10 * * * *")

        slots.skip_time(schedule=schedule, logical_at=at(12, 10), note="", actor=member)
        tick(clock, minutes=10)

        assert story(schedule) == [("12:10", "skipped", "ByHand")]
        assert not Run.objects.exists()

    @pytest.mark.parametrize("when", [at(12, 11), at(11, 50)])
    def test_refuses_what_is_no_coming_time(self, make, clock, member, when):
        schedule = make(cron="*/10 * * * *")

        with pytest.raises(InvalidInput):
            slots.skip_time(schedule=schedule, logical_at=when, actor=member)

        assert not Slot.objects.exists()


class TestRun:
    def test_runs_a_waiting_time_at_once_whatever_is_active(self, waiting, member):
        slots.run_slot(slot=waiting, actor=member)

        assert statuses(waiting.schedule) == ["running", "running"]

    def test_runs_a_time_that_is_over_as_a_new_run(self, waiting, member):
        first = finish(Slot.objects.earliest("logical_at"), "failed")
        before = first.run_id

        again = slots.run_slot(slot=first, actor=member)

        assert (again.status, again.tries, again.reason) == ("running", 2, "")
        assert again.run_id != before

    def test_runs_a_coming_time_and_not_again_when_it_comes(self, make, clock, member):
        schedule = make(cron="*/10 * * * *")

        slots.run_time(schedule=schedule, logical_at=at(12, 10), actor=member)
        tick(clock, minutes=10)

        assert story(schedule) == [("12:10", "running", "")]
        assert Run.objects.count() == 1


class TestMarkAndIgnore:
    def test_a_marked_time_lets_the_next_go(self, make, clock, operator):
        schedule = make(depends_on_past="succeeded")
        tick(clock, seconds=30)
        tick(clock, seconds=60)
        first = finish(Slot.objects.earliest("logical_at"), "failed")
        assert story(schedule)[1][1:] == ("waiting", "PastFailed")

        slots.mark_slot(slot=first, status="succeeded", actor=operator)

        assert story(schedule) == [("12:01", "succeeded", "Marked"), ("12:02", "running", "")]

    def test_an_ignored_failure_lets_the_next_go_and_heeding_it_stops_the_one_after(self, make, clock, operator):
        schedule = make(depends_on_past="succeeded")
        tick(clock, seconds=30)
        tick(clock, seconds=60)
        first = finish(Slot.objects.earliest("logical_at"), "failed")

        first = slots.ignore_slot(slot=first, actor=operator)

        assert (first.status, first.is_ignored) == ("failed", True)
        assert statuses(schedule) == ["failed", "running"]

    def test_refuses_while_it_runs_and_other_words(self, waiting, operator):
        running = Slot.objects.earliest("logical_at")

        with pytest.raises(InvalidTransition):
            slots.mark_slot(slot=running, status="succeeded", actor=operator)
        with pytest.raises(InvalidInput):
            slots.mark_slot(slot=waiting, status="missed", actor=operator)
        with pytest.raises(InvalidTransition):
            slots.ignore_slot(slot=waiting, actor=operator)

        assert statuses(waiting.schedule) == ["running", "waiting"]

    def test_a_mark_stands_though_its_run_is_told_of_late(self, make, clock, operator):
        make(cron="1 12 * * *")
        tick(clock, seconds=30)
        slot = finish(Slot.objects.get(), "failed")
        slots.mark_slot(slot=slot, status="succeeded", actor=operator)

        assert finish(slot, "failed").status == "succeeded"


class TestBackfill:
    def backfill(self, schedule, member, **asked):
        asked = {"from_at": at(10), "to_at": at(10, 40), **asked}
        return backfills.start_backfill(schedule=schedule, actor=member, **asked)

    @pytest.fixture
    def schedule(self, make):
        return make(cron="*/10 * * * *")

    def test_runs_a_range_under_its_own_cap_beside_the_live_slots(self, schedule, clock, member):
        backfill = self.backfill(schedule, member)
        assert statuses(schedule) == ["running", "running", "waiting", "waiting", "waiting"]

        tick(clock, minutes=10)

        assert story(schedule)[-1] == ("12:10", "running", "")
        assert {run.priority for run in Run.objects.filter(trigger="backfill")} == {-10}
        for slot in Slot.objects.filter(backfill=backfill).order_by("logical_at"):
            finish(slot)
        assert fresh(backfill).status == "finished"
        assert statuses(schedule) == ["succeeded"] * 5 + ["running"]

    def test_previews_without_saving(self, schedule, clock):
        found = backfills.preview(schedule=schedule, from_at=at(10), to_at=at(10, 40))

        assert (found.count, len(found.new)) == (5, 5)
        assert not Slot.objects.exists()

    @pytest.mark.parametrize(
        ("reprocess", "statuses_then", "left"),
        [
            ("none", ["failed", "succeeded", "running"], 2),
            ("failed", ["running", "succeeded", "running"], 1),
            ("all", ["running", "running", "running"], 0),
        ],
    )
    def test_does_with_what_is_there_as_asked(self, schedule, clock, member, reprocess, statuses_then, left):
        self.backfill(schedule, member, to_at=at(10, 10))
        first, second = Slot.objects.order_by("logical_at")
        finish(first, "failed")
        finish(second)

        again = self.backfill(schedule, member, to_at=at(10, 20), reprocess=reprocess, max_active_runs=9)

        assert statuses(schedule) == statuses_then
        assert len(again.left_out) == left

    def test_newest_first(self, schedule, clock, member):
        self.backfill(schedule, member, order="down", max_active_runs=1)

        assert statuses(schedule) == ["waiting"] * 4 + ["running"]

    @pytest.mark.parametrize(
        ("asked", "field"),
        [
            ({"to_at": at(14)}, "to_at"),
            ({"to_at": at(9)}, "to_at"),
            ({"from_at": at(0, day=1), "to_at": at(0, day=25)}, None),
            ({"max_active_runs": 0}, "max_active_runs"),
            ({"params": {"nonsense": 1}}, "params.nonsense"),
            ({"order": "sideways"}, "order"),
        ],
    )
    def test_refuses_with_the_field_named(self, schedule, clock, member, asked, field):
        if field is None:
            assert self.backfill(schedule, member, **asked).slot_count == 24 * 24 * 6 + 1
            return
        with pytest.raises(InvalidInput) as refused:
            self.backfill(schedule, member, **asked)

        assert field in refused.value.fields
        assert not Backfill.objects.exists()
        assert not Slot.objects.exists()

    def test_newest_first_is_refused_where_the_past_counts(self, make, clock, member):
        schedule = make(cron="*/10 * * * *", depends_on_past="succeeded")

        with pytest.raises(InvalidInput) as refused:
            self.backfill(schedule, member, order="down")

        assert "order" in refused.value.fields

    def test_pause_resume_and_cancel(self, schedule, clock, member):
        backfill = self.backfill(schedule, member, max_active_runs=1)
        backfills.pause_backfill(backfill=backfill, actor=member)
        finish(Slot.objects.earliest("logical_at"))
        assert story(schedule)[1][1:] == ("waiting", "BackfillPaused")

        backfills.resume_backfill(backfill=backfill, actor=member)
        assert statuses(schedule)[:2] == ["succeeded", "running"]

        backfills.cancel_backfill(backfill=backfill, actor=member)
        assert story(schedule)[2][1:] == ("skipped", "BackfillCancelled")
        assert statuses(schedule) == ["succeeded", "running", "skipped", "skipped", "skipped"]
        with pytest.raises(InvalidTransition):
            backfills.resume_backfill(backfill=backfill, actor=member)
