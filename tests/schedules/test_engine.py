"""From times to runs: what the engine makes of a tick, on whichever database the suite runs."""

from datetime import timedelta

import pytest
from django.db import IntegrityError, transaction

from apps.pipelines.models import Pipeline, Run
from apps.schedules import engine, following, services
from apps.schedules.models import Schedule, Slot

from .conftest import at, finish, fresh, statuses, story, tick

pytestmark = pytest.mark.django_db


class TestFiring:
    def test_makes_one_slot_and_its_run_at_the_time_and_not_before(self, make, clock):
        schedule = make()

        tick(clock, seconds=29)
        assert Slot.objects.count() == Run.objects.count() == 0
        tick(clock, seconds=1)

        slot, run = Slot.objects.get(), Run.objects.get()
        assert (slot.logical_at, slot.interval_start, slot.run, slot.tries) == (at(12, 1), at(12, 0), run, 1)
        assert (run.logical_at, run.interval_start, run.interval_end) == (at(12, 1), at(12, 0), at(12, 1))
        assert (run.trigger, run.params) == ("schedule", {"day": "x"})
        assert fresh(schedule).next_logical_at == at(12, 2)

    def test_ticks_that_come_twice_make_nothing_twice(self, make, clock):
        make()
        tick(clock, seconds=30)

        tick(clock)
        tick(clock, seconds=-600)  # a clock that is set back

        assert Slot.objects.count() == Run.objects.count() == 1

    def test_a_second_slot_of_a_time_is_refused_by_the_database(self, make, clock):
        schedule = make()
        tick(clock, seconds=30)
        twin = engine.new_slot(schedule, at(12, 1), now=clock.now)
        twin.uid = schedule.uid

        with pytest.raises(IntegrityError), transaction.atomic():
            twin.save(force_insert=True)

    def test_what_was_edited_since_it_was_planned_is_left_for_the_next_tick(self, make, clock, monkeypatch):
        schedule = make()
        clock.move(seconds=30)
        locked = engine.selectors.locked

        def edited_meanwhile(ids, **how):
            Schedule.objects.filter(pk=schedule.pk).update(is_paused=True)
            return locked(ids, **how)

        monkeypatch.setattr(engine.selectors, "locked", edited_meanwhile)
        engine.fire_due()

        assert Slot.objects.count() == 0

    def test_stays_within_start_and_end(self, make, clock):
        schedule = make(start_at=at(12, 3), end_at=at(12, 4), max_active_runs=9)

        for _minute in range(6):
            tick(clock, seconds=60)

        assert [minute for minute, *_rest in story(schedule)] == ["12:03", "12:04"]
        assert fresh(schedule).next_fire_at is None

    def test_intervals_count_from_the_start(self, make, clock):
        schedule = make(kind="interval", cron="", interval_seconds=40, start_at=at(12, 1, 10), max_active_runs=9)

        for _minute in range(3):
            tick(clock, seconds=60)

        found = Slot.objects.filter(schedule=schedule).order_by("logical_at").values_list("logical_at", flat=True)
        assert list(found) == [at(12, 1, 10), at(12, 1, 50), at(12, 2, 30), at(12, 3, 10)]

    def test_spreads_starts_the_same_way_each_time_and_before_the_next_time(self, make, clock):
        schedule = make(jitter_seconds=86_000)
        wait = (schedule.next_fire_at - schedule.next_logical_at).total_seconds()

        assert wait == min(schedule.jitter, 59)
        tick(clock, seconds=29)
        tick(clock, seconds=wait)
        assert Slot.objects.count() == 0
        tick(clock, seconds=1)
        assert Slot.objects.get().logical_at == at(12, 1)


class TestMissedTimes:
    @pytest.mark.parametrize(
        ("policy", "expected"),
        [
            ("none", [("missed", "CatchUpNone")] * 4),
            ("latest", [("missed", "NewerCaughtUp")] * 3 + [("running", "")]),
            ("all", [("running", "")] * 4),
        ],
    )
    def test_are_run_or_told_of_as_the_schedule_says(self, make, clock, policy, expected):
        schedule = make(cron="*/5 * * * *", catch_up=policy, max_active_runs=9)

        tick(clock, minutes=22)  # 12:22:30, after 12:05, :10, :15 and :20

        assert [row[1:] for row in story(schedule)] == expected

    def test_a_time_on_time_is_newer_than_what_was_missed(self, make, clock):
        schedule = make(cron="*/5 * * * *", max_active_runs=9)

        tick(clock, minutes=14, seconds=40)  # 12:15:10

        assert statuses(schedule) == ["missed", "missed", "running"]

    def test_the_window_and_the_limit_bound_what_is_caught_up(self, make, clock):
        asked = {"catch_up": "all", "catch_up_window_seconds": 900, "catch_up_limit": 2, "max_active_runs": 9}
        schedule = make(cron="*/5 * * * *", **asked)

        tick(clock, minutes=27)  # 12:27:30: times from 12:12:30 on are within the window

        assert [row[1:] for row in story(schedule)] == [
            ("missed", "CatchUpWindow"), ("missed", "CatchUpWindow"),
            ("missed", "CatchUpLimit"), ("running", ""), ("running", ""),
        ]  # fmt: skip

    def test_a_very_long_gap_is_told_of_in_bounded_batches(self, make, clock):
        schedule = make(catch_up="all", catch_up_window_seconds=365 * 86400, max_active_runs=1000)

        tick(clock, minutes=2500)
        tick(clock)

        assert statuses(schedule).count("missed") == 1499
        assert statuses(schedule).count("running") == 1000
        assert statuses(schedule)[1499:] == ["running"] * 1000 + ["waiting"]

    def test_pausing_leaves_the_gap_to_the_policy(self, make, clock, member):
        schedule = make(cron="*/5 * * * *")
        services.pause_schedule(schedule=schedule, note="move", actor=member)
        tick(clock, minutes=22)
        assert story(schedule) == []

        services.resume_schedule(schedule=schedule, actor=member)
        tick(clock)

        assert statuses(schedule) == ["missed", "missed", "missed", "running"]


class TestOverlap:
    def minutes(self, clock, count):
        for _minute in range(count):
            tick(clock, seconds=60)

    def test_queue_waits_oldest_first_and_says_for_what(self, make, clock):
        schedule = make()
        self.minutes(clock, 3)
        assert [row[1:] for row in story(schedule)] == [("running", ""), *[("waiting", "MaxActiveRuns")] * 2]
        first, second, _third = Slot.objects.order_by("logical_at")
        assert second.message == "the time 2026-11-25 12:01:00 (UTC), which is running"
        assert second.reason_at == at(12, 2, 30)

        finish(first)

        assert statuses(schedule) == ["succeeded", "running", "waiting"]

    def test_queue_one_keeps_the_newest(self, make, clock):
        schedule = make(overlap="queue_latest")
        self.minutes(clock, 4)

        assert [row[1:] for row in story(schedule)] == [
            ("running", ""), ("skipped", "Superseded"), ("skipped", "Superseded"), ("waiting", "MaxActiveRuns"),
        ]  # fmt: skip

    def test_skip_says_so(self, make, clock):
        schedule = make(overlap="skip")
        self.minutes(clock, 2)

        assert [row[1:] for row in story(schedule)] == [("running", ""), ("skipped", "Overlap")]

    def test_cancel_stops_the_oldest_and_starts_at_once(self, make, clock):
        schedule = make(overlap="cancel")
        self.minutes(clock, 2)

        assert statuses(schedule) == ["running", "running"]
        first = Slot.objects.earliest("logical_at")
        assert first.run.status in {"stopping", "stopped"}
        assert statuses(schedule)[1] == "running"

    def test_replace_starts_when_the_other_has_ended(self, make, clock):
        schedule = make(overlap="replace")
        self.minutes(clock, 2)
        assert story(schedule)[1][1:] == ("waiting", "Replacing")

        finish(Slot.objects.earliest("logical_at"), "stopped")

        assert statuses(schedule) == ["stopped", "running"]

    def test_parallel_starts_all_the_same(self, make, clock):
        schedule = make(overlap="parallel")
        self.minutes(clock, 3)

        assert statuses(schedule) == ["running"] * 3

    def test_only_the_newest_are_kept(self, make, clock):
        schedule = make(keep_newest=2)
        self.minutes(clock, 4)

        assert [row[1:] for row in story(schedule)[1:]] == [
            ("skipped", "Expired"), ("waiting", "MaxActiveRuns"), ("waiting", "MaxActiveRuns"),
        ]  # fmt: skip
        assert Slot.objects.earliest("logical_at").run.status in {"stopping", "stopped"}


class TestDependence:
    def two(self, make, clock, **asked):
        schedule = make(max_active_runs=5, depends_on_past="succeeded", **asked)
        tick(clock, seconds=30)
        tick(clock, seconds=60)
        return schedule, *Slot.objects.filter(schedule=schedule).order_by("logical_at")

    def test_waits_for_the_time_before_and_goes_on_when_it_succeeds(self, make, clock):
        schedule, first, _second = self.two(make, clock)
        assert story(schedule)[1][1:] == ("waiting", "DependsOnPast")

        finish(first)

        assert statuses(schedule) == ["succeeded", "running"]

    def test_a_failure_blocks_and_is_named(self, make, clock):
        schedule, first, second = self.two(make, clock)

        finish(first, "failed")

        assert story(schedule)[1][1:] == ("waiting", "PastFailed")
        assert fresh(second).message == "the time 2026-11-25 12:01:00 (UTC), which is failed"

    @pytest.mark.parametrize(("asked", "status"), [({"depends_on_past": "finished"}, "failed"), ({}, "stopped")])
    def test_what_counts_as_past_is_chosen(self, make, clock, asked, status):
        schedule = make(max_active_runs=5, **{"depends_on_past": "succeeded", "past_allows_stopped": True, **asked})
        tick(clock, seconds=30)
        tick(clock, seconds=60)

        finish(Slot.objects.earliest("logical_at"), status)

        assert statuses(schedule) == [status, "running"]

    def test_a_cap_of_one_cannot_block_itself(self, make, clock):
        schedule = make(max_active_runs=1, depends_on_past="succeeded", run_retries=1, run_retry_delay_seconds=60)
        tick(clock, seconds=30)
        tick(clock, seconds=60)
        first = finish(Slot.objects.earliest("logical_at"), "failed")
        assert (first.status, first.reason) == ("waiting", "Retry")

        tick(clock, seconds=60)

        assert statuses(schedule) == ["running", "waiting", "waiting"]

    def test_waits_for_another_pipelines_run_of_the_same_time(self, make, make_pipeline, clock, member):
        other = make_pipeline("extract")
        schedule = make(waits_for=[other])
        tick(clock, seconds=30)
        assert story(schedule) == [("12:01", "waiting", "WaitsForPipelines")]
        assert Slot.objects.get().message == "extract"
        run = Run.objects.create(
            project=other.project, pipeline=other, pipeline_version=other.versions.get(), logical_at=at(12, 1),
            status="succeeded", finished_at=clock.now,
        )  # fmt: skip

        following.follow(runs=[run])

        assert statuses(schedule) == ["running"]

    def test_gives_up_waiting_when_told_to(self, make, make_pipeline, clock):
        schedule = make(waits_for=[make_pipeline("extract")], wait_seconds=600, cron="1 12 * * *")
        tick(clock, seconds=30)

        tick(clock, seconds=600)

        assert story(schedule) == [("12:01", "missed", "UpstreamLate")]


class TestAfterPipelines:
    def ended(self, pipeline, clock, **more):
        return Run.objects.create(
            project=pipeline.project, pipeline=pipeline, pipeline_version=pipeline.versions.get(), status="succeeded",
            finished_at=clock.now, **more,
        )  # fmt: skip

    def test_runs_once_for_each_run_it_follows(self, make, make_pipeline, clock):
        source = make_pipeline("source")
        schedule = make(kind="after", cron="", after=[source])
        run = self.ended(source, clock, logical_at=at(11, 0))

        following.follow(runs=[run])
        following.follow(runs=[run])
        following.sweep()

        assert story(schedule) == [("11:00", "running", "")]

    def test_waits_until_all_it_follows_have_succeeded_for_the_time(self, make, make_pipeline, clock):
        one, two = make_pipeline("one"), make_pipeline("two")
        schedule = make(kind="after", cron="", after=[one, two])
        following.follow(runs=[self.ended(one, clock, logical_at=at(11, 0))])
        assert story(schedule) == [("11:00", "waiting", "WaitsForPipelines")]

        following.follow(runs=[self.ended(two, clock, logical_at=at(11, 0))])

        assert story(schedule) == [("11:00", "running", "")]

    def test_the_sweep_finds_an_end_that_nobody_announced(self, make, make_pipeline, clock):
        source = make_pipeline("source")
        schedule = make(kind="after", cron="", after=[source])
        self.ended(source, clock)

        following.sweep()

        assert statuses(schedule) == ["running"]


class TestEnds:
    def test_a_failed_run_is_tried_again_with_growing_waits(self, make, clock):
        schedule = make(cron="1 12 * * *", run_retries=2, run_retry_delay_seconds=60)
        tick(clock, seconds=30)
        slot = Slot.objects.get()

        assert finish(slot, "failed").due_at == clock.now + timedelta(seconds=60)
        tick(clock, seconds=59)
        assert statuses(schedule) == ["waiting"]
        tick(clock, seconds=1)
        assert fresh(slot).tries == 2
        assert finish(slot, "failed").due_at == clock.now + timedelta(seconds=120)
        tick(clock, seconds=120)

        assert finish(slot, "failed").status == "failed"
        assert Run.objects.count() == 3

    def test_an_end_nobody_told_of_is_found(self, make, clock):
        schedule = make(cron="1 12 * * *")
        tick(clock, seconds=30)
        Run.objects.update(status="succeeded", finished_at=clock.now)

        following.sweep()

        assert statuses(schedule) == ["succeeded"]

    def test_a_run_that_is_reopened_reopens_its_slot(self, make, clock):
        schedule = make(cron="1 12 * * *")
        tick(clock, seconds=30)
        finish(Slot.objects.get(), "failed")
        Run.objects.update(status="running", finished_at=None)

        following.sweep()

        assert statuses(schedule) == ["running"]

    def test_too_many_failures_in_a_row_pause_the_schedule(self, make, clock):
        schedule = make(pause_after_failures=2)
        for _time in range(2):
            tick(clock, seconds=60)
            finish(Slot.objects.latest("logical_at"), "failed")

        schedule = fresh(schedule)
        assert (schedule.is_paused, schedule.failures_in_a_row) == (True, 2)
        assert schedule.paused_note == "Paused by itself after 2 failed runs in a row."
        tick(clock, seconds=60)
        assert Slot.objects.count() == 2

    def test_a_success_counts_anew(self, make, clock):
        schedule = make(pause_after_failures=2)
        for status in ("failed", "succeeded", "failed"):
            tick(clock, seconds=60)
            finish(Slot.objects.latest("logical_at"), status)

        assert not fresh(schedule).is_paused

    def test_a_run_that_was_deleted_ends_its_slot(self, make, clock):
        schedule = make(cron="1 12 * * *")
        tick(clock, seconds=30)
        Run.objects.all().delete()

        following.sweep()

        assert story(schedule) == [("12:01", "stopped", "RunGone")]


class TestRefusedLaunches:
    def test_a_run_that_cannot_be_started_leaves_its_slot_waiting_with_the_reason(self, make, clock):
        schedule, other = make(), make("other", params={"day": "y"})
        Schedule.objects.filter(pk=schedule.pk).update(params={"nonsense": 1})

        tick(clock, seconds=30)

        slot = Slot.objects.get(schedule=schedule)
        assert (slot.status, slot.reason, slot.run) == ("waiting", "LaunchFailed", None)
        assert "nonsense" in slot.message
        assert statuses(other) == ["running"]

    def test_and_starts_it_once_the_cause_is_gone(self, make, clock, pipeline):
        schedule = make(cron="1 12 * * *")
        Pipeline.objects.update(is_archived=True)
        tick(clock, seconds=30)
        assert statuses(schedule) == ["waiting"]
        Pipeline.objects.update(is_archived=False)

        tick(clock, seconds=15)

        assert statuses(schedule) == ["running"]


class TestManySchedules:
    def test_cost_a_constant_number_of_queries(self, make, clock, django_assert_max_num_queries):
        for number in range(12):
            make(f"s{number}")
        clock.move(seconds=30)

        with django_assert_max_num_queries(20):
            engine.fire_due()

        assert Run.objects.count() == 12
