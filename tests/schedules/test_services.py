from datetime import timedelta

import pytest

from apps.accounts.models import AuditEntry
from apps.core.errors import InvalidInput, InvalidTransition
from apps.pipelines import services as pipelines
from apps.schedules import services
from apps.schedules.models import Schedule, Slot
from tests.factories import ProjectFactory

from .conftest import at, finish, fresh, statuses, story, tick

pytestmark = pytest.mark.django_db


class TestCreate:
    @pytest.mark.parametrize(
        ("asked", "field"),
        [
            ({"cron": "0 0 30 2 *"}, "cron"),
            ({"cron": ""}, "cron"),
            ({"zone": "Mars/Olympus"}, "zone"),
            ({"kind": "interval", "interval_seconds": 5}, "interval_seconds"),
            ({"kind": "interval"}, "interval_seconds"),
            ({"kind": "after"}, "after"),
            ({"name": "a/b"}, "name"),
            ({"max_active_runs": 0}, "max_active_runs"),
            ({"params": {"nonsense": 1}}, "params.nonsense"),
            ({"start_at": at(13), "end_at": at(13)}, "end_at"),
            ({"overlap": "perhaps"}, "overlap"),
            ({"catch_up_window_seconds": 10**9}, "catch_up_window_seconds"),
        ],
    )
    def test_refuses_with_the_field_named(self, make, asked, field):
        with pytest.raises(InvalidInput) as refused:
            make(**{"name": "x", **asked})

        assert field in refused.value.fields
        assert not Schedule.objects.exists()

    def test_names_every_bad_field_at_once(self, make):
        with pytest.raises(InvalidInput) as refused:
            make(name="", cron="nope", max_active_runs=0)

        assert {"name", "cron", "max_active_runs"} <= set(refused.value.fields)

    def test_accepts_29_february(self, make):
        assert make(cron="0 0 29 2 *").next_logical_at.strftime("%Y-%m-%d") == "2028-02-29"

    def test_refuses_a_name_that_is_taken(self, make):
        make()

        with pytest.raises(InvalidInput) as refused:
            make()

        assert "name" in refused.value.fields or "" in refused.value.fields
        assert Schedule.objects.count() == 1

    def test_refuses_another_projects_pipeline(self, make, member, pipeline):
        graph = pipeline.versions.get().graph
        theirs = pipelines.create_pipeline(project=ProjectFactory(), name="theirs", graph=graph, actor=member)

        for asked in ({"pipeline": theirs}, {"waits_for": [theirs]}, {"kind": "after", "cron": "", "after": [theirs]}):
            with pytest.raises(InvalidInput):
                make(**asked)

    def test_refuses_to_wait_for_itself_and_an_archived_pipeline(self, make, pipeline, member):
        with pytest.raises(InvalidInput):
            make(waits_for=[pipeline])
        pipelines.set_archived(pipeline=pipeline, archived=True, actor=member)
        with pytest.raises(InvalidInput):
            make(pipeline=fresh(pipeline))

    def test_is_written_down(self, make, member):
        make()

        entry = AuditEntry.objects.get(action="schedule.create")
        assert (entry.actor, entry.project_slug) == (member, member.memberships.get().project.slug)


class TestEdit:
    def test_counts_from_the_save_on(self, make, clock, member):
        schedule = make(cron="0 * * * *")
        clock.move(minutes=40)  # 12:40:30

        services.edit_schedule(schedule=schedule, cron="*/10 * * * *", actor=member)
        tick(clock)

        assert story(schedule) == []
        assert fresh(schedule).next_logical_at == at(12, 50)

    def test_a_change_near_the_minute_swallows_no_time(self, make, clock, member):
        schedule = make(cron="1 12 * * *")
        clock.move(seconds=31)  # due, and not fired yet

        services.edit_schedule(schedule=schedule, cron="0 0 1 1 *", actor=member)

        assert story(schedule) == [("12:01", "running", "")]

    def test_the_gap_of_a_paused_schedule_is_told_of(self, make, clock, member):
        schedule = make(cron="*/10 * * * *")
        services.pause_schedule(schedule=schedule, actor=member)
        clock.move(minutes=25)

        services.edit_schedule(schedule=schedule, cron="0 0 1 1 *", actor=member)

        assert story(schedule) == [("12:10", "missed", "Edited"), ("12:20", "missed", "Edited")]

    def test_other_changes_leave_the_next_time_alone(self, make, clock, member):
        schedule = make()
        clock.move(seconds=45)

        services.edit_schedule(schedule=schedule, max_active_runs=4, actor=member)

        assert fresh(schedule).next_logical_at == at(12, 1)

    def test_a_refused_change_changes_nothing(self, make, clock, member):
        schedule = make()

        with pytest.raises(InvalidInput):
            services.edit_schedule(schedule=schedule, cron="0 0 30 2 *", max_active_runs=4, actor=member)

        assert (fresh(schedule).cron, fresh(schedule).max_active_runs) == ("* * * * *", 1)

    def test_a_higher_cap_lets_waiting_slots_go(self, make, clock, member):
        schedule = make()
        tick(clock, seconds=30)
        tick(clock, seconds=60)
        assert statuses(schedule) == ["running", "waiting"]

        services.edit_schedule(schedule=schedule, max_active_runs=2, actor=member)

        assert statuses(schedule) == ["running", "running"]

    def test_a_pinned_version_stays(self, make, clock, pipeline, member):
        first = pipeline.versions.get()
        schedule = make(pipeline_version=first)
        graph = {**first.graph, "parallelism": 3}
        pipelines.save_version(pipeline=pipeline, graph=graph, actor=member)

        tick(clock, seconds=30)

        assert Slot.objects.get(schedule=schedule).run.pipeline_version == first


class TestPauseAndDelete:
    def test_pausing_says_who_and_why_and_holds_waiting_slots(self, make, clock, member):
        schedule = make()
        tick(clock, seconds=30)
        tick(clock, seconds=60)

        schedule = services.pause_schedule(schedule=schedule, note="migration", actor=member)
        finish(Slot.objects.earliest("logical_at"))

        assert (schedule.paused_by, schedule.paused_note) == (member, "migration")
        assert story(schedule)[1][1:] == ("waiting", "Paused")
        services.resume_schedule(schedule=schedule, actor=member)
        assert statuses(schedule) == ["succeeded", "running"]

    def test_is_not_deleted_while_something_runs(self, make, clock, operator):
        schedule = make()
        tick(clock, seconds=30)

        with pytest.raises(InvalidTransition):
            services.delete_schedule(schedule=schedule, actor=operator)
        assert Slot.objects.exists()

        finish(Slot.objects.get())
        services.delete_schedule(schedule=schedule, actor=operator)
        assert not Schedule.objects.exists()
        assert not Slot.objects.exists()

    def test_nothing_due_at_the_pause_is_lost(self, make, clock, member):
        schedule = make()
        clock.move(seconds=31)

        services.pause_schedule(schedule=schedule, actor=member)

        assert story(schedule) == [("12:01", "running", "")]
        assert fresh(schedule).next_logical_at == at(12, 2)
        assert timedelta() == fresh(schedule).next_fire_at - at(12, 2)
