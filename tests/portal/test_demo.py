"""What the demo begins with is made once: what people make of it afterwards is theirs."""

import pytest

from apps.alerts.models import Rule
from apps.pipelines.models import Pipeline, Run
from apps.portal import demo
from apps.schedules import services
from apps.schedules.models import Schedule

pytestmark = pytest.mark.django_db


@pytest.fixture
def seed(settings, tmp_path, cluster_row):
    settings.CUBE_DATA_DIR = tmp_path
    return lambda: demo.seed(url="http://cube.test")


class TestTheSchedule:
    def test_runs_the_digits_every_quarter_of_an_hour(self, seed):
        seed()

        schedule = Schedule.objects.select_related("pipeline").get()
        assert (schedule.pipeline.name, schedule.interval_seconds) == ("Digits", 900)
        assert (schedule.max_active_runs, schedule.catch_up, schedule.is_paused) == (1, "latest", False)
        assert (schedule.next_logical_at - schedule.anchor_at).total_seconds() == 900

    def test_is_watched_by_a_rule_that_tells_nobody_outside(self, seed):
        seed()

        rule = Rule.objects.select_related("pipeline").get()
        assert (rule.pipeline.name, rule.conditions, rule.tells_recovery) == (
            "Digits",
            {"failed", "late", "paused"},
            True,
        )
        assert (Schedule.objects.get().deadline_seconds, rule.channels.count()) == (600, 0)

    def test_is_made_once(self, seed):
        seed()

        seed()

        counts = [model.objects.count() for model in (Pipeline, Run, Schedule, Rule)]
        assert counts == [1, 1, 1, 1]

    def test_stays_paused(self, seed):
        seed()
        services.pause_schedule(schedule=Schedule.objects.get(), note="too warm", actor=None)

        seed()

        assert (Schedule.objects.get().is_paused, Schedule.objects.get().paused_note) == (True, "too warm")

    def test_stays_deleted(self, seed):
        seed()
        services.delete_schedule(schedule=Schedule.objects.get(), actor=None)

        seed()

        assert not Schedule.objects.exists()

    def test_is_not_half_made(self, seed, monkeypatch):
        """Whoever dies in between has made nothing, and the next start makes it all."""
        with monkeypatch.context() as broken:
            broken.setattr(demo.schedules, "create_schedule", lambda **_: 1 / 0)
            with pytest.raises(ZeroDivisionError):
                seed()
        assert not Pipeline.objects.exists()

        seed()

        assert Schedule.objects.count() == 1
