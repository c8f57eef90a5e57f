from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from uuid import uuid4

import pytest
from django.db import IntegrityError, connection, transaction
from django.utils import timezone

from apps.alerts import services, watching
from apps.alerts.models import Delivery, Incident, Rule
from apps.schedules import deadlines
from apps.schedules.models import Schedule, Slot

from .conftest import incidents, look, run, slot, told

pytestmark = pytest.mark.django_db


class TestFailures:
    def test_a_failed_time_opens_one_incident_and_repeats_are_counted(self, schedule, rule):
        first = slot(schedule)
        look(schedule)
        look(schedule)
        second, third = slot(schedule), slot(schedule)
        look(schedule)

        incident = Incident.objects.get()
        assert incidents() == [("failed", True, 3)]
        assert (incident.subject, incident.first_run_id) == (f"schedule:{schedule.pk}", first.run_id)
        assert incident.run_id in {second.run_id, third.run_id}
        assert told() == ["opened"]

    def test_success_closes_it_and_tells(self, schedule, rule):
        slot(schedule)
        look(schedule)
        slot(schedule, "succeeded")
        look(schedule)
        look(schedule)

        assert incidents() == [("failed", False, 1)]
        assert told() == ["opened", "resolved"]

    def test_a_new_failure_after_recovery_opens_another(self, schedule, rule):
        for status in ("failed", "succeeded", "failed"):
            slot(schedule, status)
            look(schedule)

        assert incidents() == [("failed", False, 1), ("failed", True, 1)]

    def test_recovery_is_not_told_where_the_rule_says_so(self, schedule, rule, member):
        services.edit_rule(rule=rule, tells_recovery=False, actor=member)
        for status in ("failed", "succeeded"):
            slot(schedule, status)
            look(schedule)

        assert incidents() == [("failed", False, 1)]
        assert told() == ["opened"]

    def test_a_time_that_is_run_again_does_not_look_like_recovery(self, schedule, rule):
        slot(schedule, "succeeded", minutes_ago=10)
        failed = slot(schedule)
        look(schedule)
        Slot.objects.filter(pk=failed.pk).update(status="running", finished_at=None)
        look(schedule)

        assert incidents() == [("failed", True, 1)]

    def test_the_time_that_ended_last_decides_not_the_newest_one(self, schedule, rule):
        slot(schedule, "succeeded")
        slot(schedule, "failed", minutes_ago=30)
        look(schedule)

        assert incidents() == [("failed", True, 1)]

    def test_an_ignored_failure_is_recovery(self, schedule, rule):
        failed = slot(schedule)
        look(schedule)
        Slot.objects.filter(pk=failed.pk).update(is_ignored=True)
        look(schedule)

        assert incidents() == [("failed", False, 1)]

    def test_what_failed_before_the_rule_was_made_is_not_told(self, schedule, project, member):
        slot(schedule)
        services.create_rule(project=project, name="late to the party", actor=member)
        look(schedule)

        assert incidents() == []

    def test_backfills_and_retries_are_not_judged(self, schedule, rule):
        backfill = schedule.backfills.create(project=schedule.project, from_at=timezone.now(), to_at=timezone.now())
        slot(schedule, backfill=backfill)
        slot(schedule, "waiting", reason="Retry")
        look(schedule)

        assert incidents() == []

    def test_runs_that_no_schedule_started_are_their_pipelines(self, schedule, pipeline, rule):
        run(pipeline)
        run(pipeline, trigger="schedule")
        run(pipeline, trigger="backfill")
        look(schedule)

        incident = Incident.objects.get()
        assert (incident.subject, incident.count, incident.message) == (f"pipeline:{pipeline.pk}", 1, "boom")

    def test_any_success_of_the_pipeline_is_recovery(self, schedule, pipeline, rule):
        run(pipeline)
        look(schedule)
        run(pipeline, "succeeded", "schedule")
        look(schedule)

        assert incidents() == [("failed", False, 1)]


class TestLateness:
    @pytest.fixture
    def dated(self, schedule, rule):
        Rule.objects.update(since_at=timezone.now() - timedelta(hours=2))
        Schedule.objects.filter(pk=schedule.pk).update(deadline_seconds=600)
        return schedule

    def test_a_time_past_its_deadline_is_late_until_it_has_ended(self, dated):
        slow = slot(dated, "running", minutes_ago=11)
        watching.sweep()
        watching.sweep()
        before = incidents()
        Slot.objects.filter(pk=slow.pk).update(status="succeeded", finished_at=timezone.now())
        watching.sweep()

        late = slow.logical_at + timedelta(minutes=10)
        times = [f"{at:%Y-%m-%d %H:%M:%S} UTC" for at in (slow.logical_at, late)]
        assert Incident.objects.get().message == f"The time {times[0]} has not ended by its deadline, {times[1]}."
        assert before == [("late", True, 1)]
        assert incidents() == [("late", False, 1)]
        assert told() == ["opened", "resolved"]

    def test_a_passed_deadline_is_told_once_without_waiting_for_the_sweep(
        self, dated, django_capture_on_commit_callbacks
    ):
        at = timezone.now() - timedelta(minutes=10)
        slot(dated, "running", minutes_ago=10, late_at=at)
        for _tick in range(2):
            with django_capture_on_commit_callbacks(execute=True):
                deadlines.announce_passed()
        early = incidents()
        watching.sweep()

        assert early == incidents() == [("late", True, 1)]
        assert told() == ["opened"]

    def test_a_passed_deadline_of_a_project_without_rules_is_nobodys(self, dated, django_capture_on_commit_callbacks):
        Rule.objects.update(is_enabled=False)
        slot(dated, "running", minutes_ago=11, late_at=timezone.now())
        with django_capture_on_commit_callbacks(execute=True):
            deadlines.announce_passed()

        assert incidents() == []

    def test_a_time_within_its_deadline_is_not(self, dated):
        slot(dated, "running", minutes_ago=9)
        watching.sweep()

        assert incidents() == []

    def test_a_time_nobody_made_is_late_too(self, dated):
        Schedule.objects.update(next_logical_at=timezone.now() - timedelta(minutes=11))
        watching.sweep()

        assert incidents() == [("late", True, 1)]

    def test_a_paused_schedule_makes_none_late(self, dated):
        Schedule.objects.update(next_logical_at=timezone.now() - timedelta(minutes=11), is_paused=True)
        watching.sweep()

        assert incidents() == []


class TestPauses:
    def test_a_schedule_that_paused_itself_is_told_until_it_is_resumed(self, schedule, rule):
        Schedule.objects.update(is_paused=True, paused_at=timezone.now(), failures_in_a_row=10, paused_note="10 failed")
        watching.sweep()
        opened = Incident.objects.get()
        Schedule.objects.update(is_paused=False, paused_at=None, failures_in_a_row=0)
        watching.sweep()

        assert (opened.condition, opened.message) == ("paused", "10 failed")
        assert incidents() == [("paused", False, 1)]

    def test_one_that_a_person_paused_is_not(self, schedule, rule, member):
        Schedule.objects.update(is_paused=True, paused_at=timezone.now(), failures_in_a_row=10, paused_by=member)
        watching.sweep()

        assert incidents() == []


class TestRules:
    def test_one_that_is_about_a_schedule_hears_of_it_alone(self, schedule, pipeline, project, member):
        services.create_rule(project=project, name="nightly only", schedule=schedule, actor=member)
        run(pipeline)
        slot(schedule)
        look(schedule)

        assert [i.subject for i in Incident.objects.all()] == [f"schedule:{schedule.pk}"]

    def test_one_that_is_about_a_pipeline_hears_of_its_schedules_too(self, schedule, pipeline, project, member):
        services.create_rule(project=project, name="flow", pipeline=pipeline, actor=member)
        run(pipeline)
        slot(schedule)
        look(schedule)

        assert {i.subject for i in Incident.objects.all()} == {f"schedule:{schedule.pk}", f"pipeline:{pipeline.pk}"}

    def test_hears_only_of_what_it_asks_for(self, schedule, project, member):
        services.create_rule(project=project, name="pauses", on_failure=False, on_lateness=False, actor=member)
        slot(schedule)
        look(schedule)

        assert incidents() == []

    def test_each_rule_has_its_own_incident(self, schedule, rule, project, member):
        services.create_rule(project=project, name="second", actor=member)
        slot(schedule)
        look(schedule)

        assert Incident.objects.count() == 2

    def test_an_edit_closes_what_it_no_longer_watches_and_tells_nobody(self, schedule, rule, member):
        slot(schedule)
        look(schedule)
        services.edit_rule(rule=rule, on_failure=False, actor=member)

        assert incidents() == [("failed", False, 1)]
        assert told() == ["opened"]

    def test_other_projects_are_not_looked_at(self, schedule, rule):
        slot(schedule)
        watching.look(project_id=schedule.project_id + 1, schedule_ids=[schedule.pk])

        assert incidents() == []


class TestOneIncident:
    def test_the_database_has_one_open_incident_of_a_kind(self, schedule, rule):
        slot(schedule)
        look(schedule)
        twin = Incident.objects.get()
        twin.pk, twin.uid = None, uuid4()

        with pytest.raises(IntegrityError), transaction.atomic():
            twin.save(force_insert=True)

        assert incidents() == [("failed", True, 1)]


class TestSweep:
    def test_finds_what_no_message_told_of(self, schedule, pipeline, rule):
        run(pipeline)
        slot(schedule)
        Schedule.objects.update(failures_in_a_row=1)
        watching.sweep()

        assert incidents() == [("failed", True, 1)] * 2

    def test_one_projects_trouble_stays_its_own(self, schedule, rule, monkeypatch):
        monkeypatch.setattr(watching.selectors, "suspects", lambda *_args, **_more: 1 / 0)
        watching.sweep()

        assert incidents() == []


class TestSnooze:
    def later(self, **span):
        return timezone.now() + timedelta(**span)

    @pytest.fixture
    def incident(self, schedule, rule):
        slot(schedule)
        look(schedule)
        return Incident.objects.get()

    def test_of_an_incident_stops_what_is_on_its_way_and_what_comes(self, incident, schedule, member):
        services.snooze_incident(incident=incident, until=self.later(hours=1), note=" on it ", actor=member)
        slot(schedule, "succeeded")
        look(schedule)

        incident.refresh_from_db()
        assert (incident.snoozed_by, incident.snooze_note, incident.is_open) == (member, "on it", False)
        assert list(Delivery.objects.values_list("status", flat=True)) == ["dropped"]

    def test_when_it_is_over_an_open_incident_is_told_again_once(self, incident, schedule, member):
        services.snooze_incident(incident=incident, until=self.later(hours=1), actor=member)
        Incident.objects.update(snoozed_until=self.later(hours=-1))
        watching.sweep()
        watching.sweep()

        assert told() == ["opened", "reminded"]

    def test_when_it_is_over_a_closed_one_is_not(self, incident, schedule, member):
        services.snooze_incident(incident=incident, until=self.later(hours=1), actor=member)
        slot(schedule, "succeeded")
        look(schedule)
        Incident.objects.update(snoozed_until=self.later(hours=-1))
        watching.sweep()

        assert told() == ["opened"]

    def test_of_a_rule_tells_afterwards_what_nobody_heard_of(self, schedule, rule, member):
        services.snooze_rule(rule=rule, until=self.later(hours=1), actor=member)
        slot(schedule)
        look(schedule)
        silent = told()
        Rule.objects.update(snoozed_until=self.later(hours=-1))
        watching.sweep()
        watching.sweep()

        assert (silent, told()) == ([], ["opened"])

    def test_what_came_and_went_while_it_lasted_is_never_told(self, schedule, rule, member):
        services.snooze_rule(rule=rule, until=self.later(hours=1), actor=member)
        slot(schedule)
        look(schedule)
        Rule.objects.update(snoozed_until=None)
        slot(schedule, "succeeded")
        look(schedule)

        assert incidents() == [("failed", False, 1)]
        assert told() == []

    def test_can_be_ended_early(self, incident, rule, member):
        services.snooze_incident(incident=incident, until=self.later(hours=1), actor=member)
        services.wake_incident(incident=incident, actor=member)
        services.snooze_rule(rule=rule, until=self.later(hours=1), actor=member)
        services.wake_rule(rule=rule, actor=member)

        assert told() == ["opened", "reminded", "reminded"]
        assert not Incident.objects.get().is_quiet

    @pytest.mark.parametrize("span", [{"hours": -1}, {"days": 31}])
    def test_refuses_a_moment_that_makes_no_sense(self, incident, member, span):
        with pytest.raises(services.InvalidInput) as refusal:
            services.snooze_incident(incident=incident, until=self.later(**span), actor=member)

        assert "until" in refusal.value.fields
        assert Incident.objects.get().snoozed_until is None


class TestClosing:
    def test_by_hand_is_final_until_something_newer_happens(self, schedule, rule, member):
        slot(schedule)
        look(schedule)
        services.close_incident(incident=Incident.objects.get(), note="known", actor=member)
        look(schedule)
        once = incidents()
        slot(schedule)
        look(schedule)

        assert once == [("failed", False, 1)]
        assert incidents() == [("failed", False, 1), ("failed", True, 1)]
        assert told() == ["opened", "opened"]

    def test_twice_is_refused(self, schedule, rule, member):
        slot(schedule)
        look(schedule)
        incident = Incident.objects.get()
        services.close_incident(incident=incident, note="known", actor=member)

        with pytest.raises(services.InvalidTransition):
            services.close_incident(incident=incident, note="again", actor=member)

        assert Incident.objects.get().close_note == "known"


class TestEvents:
    def test_a_failing_run_is_told_without_waiting_for_the_sweep(
        self, schedule, rule, django_capture_on_commit_callbacks
    ):
        from apps.alerts.notifiers.fake import SENT
        from apps.schedules import following

        started = run(schedule.pipeline, "failed", "schedule")
        slot(schedule, "running", run=started)
        with django_capture_on_commit_callbacks(execute=True):
            following.record_runs(run_ids=[started.pk])

        assert incidents() == [("failed", True, 1)]
        assert [message.payload["type"] for _target, message in SENT] == ["incident.opened"]


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite lets one writer in at a time anyway")
def test_looks_at_one_moment_open_one_incident(schedule, rule):
    slot(schedule)

    def look_alone(_number):
        try:
            look(schedule)
        finally:
            connection.close()

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(look_alone, range(12)))

    assert incidents() == [("failed", True, 1)]
    assert told() == ["opened"]
