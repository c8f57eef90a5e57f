"""Operators read schedules and act through the same services as everybody."""

import pytest

from apps.schedules.models import Schedule, Slot
from tests.factories import UserFactory

from .conftest import statuses, tick

pytestmark = pytest.mark.django_db


@pytest.fixture
def console(client):
    client.force_login(UserFactory(username="root", is_staff=True, is_superuser=True))
    return client


@pytest.mark.parametrize("model", ["schedule", "slot", "backfill"])
def test_lists_and_pages_are_shown(console, make, clock, model):
    schedule = make()
    tick(clock, seconds=30)
    keys = {"schedule": schedule.pk, "slot": Slot.objects.get().pk}

    assert console.get(f"/admin/schedules/{model}/").status_code == 200
    if model in keys:
        assert console.get(f"/admin/schedules/{model}/{keys[model]}/change/").status_code == 200


def test_pauses_and_resumes(console, make):
    schedule = make()
    chosen = {"_selected_action": [schedule.pk]}

    console.post("/admin/schedules/schedule/", {"action": "pause", **chosen})
    assert Schedule.objects.get().paused_note == "Paused by an operator."
    console.post("/admin/schedules/schedule/", {"action": "resume", **chosen})

    assert not Schedule.objects.get().is_paused


def test_skips_what_waits_and_leaves_the_rest(console, make, clock):
    schedule = make()
    tick(clock, seconds=30)
    tick(clock, seconds=60)
    keys = list(Slot.objects.values_list("pk", flat=True))

    console.post("/admin/schedules/slot/", {"action": "skip", "_selected_action": keys})

    assert statuses(schedule) == ["running", "skipped"]
