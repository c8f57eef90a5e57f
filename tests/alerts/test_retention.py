from datetime import timedelta

import pytest
from django.utils import timezone

from apps.alerts import outbox, retention, services, watching
from apps.alerts.models import Delivery, Incident, Rule
from apps.schedules.models import Schedule, Slot

from .conftest import incidents, look, send_due, slot, told

pytestmark = pytest.mark.django_db
LONG_AGO = timedelta(days=91)


def ago(span):
    return timezone.now() - span


@pytest.fixture
def incident(schedule, rule):
    slot(schedule)
    look(schedule)
    send_due()
    return Incident.objects.get()


@pytest.fixture
def closed(incident, member):
    services.close_incident(incident=incident, actor=member)
    Incident.objects.update(closed_at=ago(LONG_AGO))
    return incident


class TestRemoveExpired:
    def test_takes_what_was_over_long_ago_with_its_messages(self, closed):
        assert retention.remove_expired() == 2
        assert (Incident.objects.count(), Delivery.objects.count()) == (0, 0)

    def test_leaves_what_was_over_lately(self, closed):
        Incident.objects.update(closed_at=ago(timedelta(days=89)))

        assert retention.remove_expired() == 0
        assert told() == ["opened"]

    def test_leaves_what_is_open_or_snoozed_however_old(self, incident, member):
        services.snooze_incident(incident=incident, until=timezone.now() + timedelta(days=1), actor=member)
        Incident.objects.update(opened_at=ago(LONG_AGO), last_at=ago(LONG_AGO))
        Delivery.objects.update(created_at=ago(LONG_AGO))
        still_open = retention.remove_expired()
        Incident.objects.update(closed_at=ago(LONG_AGO))

        assert (still_open, retention.remove_expired()) == (0, 0)
        assert told() == ["opened"]

    def test_takes_tests_that_were_sent_and_leaves_what_waits(self, channel):
        sent, waiting = outbox.queue_test(channel), outbox.queue_test(channel)
        outbox.send(delivery_id=sent.pk)
        Delivery.objects.update(created_at=ago(LONG_AGO))

        assert retention.remove_expired() == 1
        assert list(Delivery.objects.all()) == [waiting]

    def test_goes_on_batch_by_batch(self, closed, schedule, member, monkeypatch):
        monkeypatch.setattr(retention, "BATCH", 1)
        slot(schedule)
        look(schedule)
        services.close_incident(incident=Incident.objects.open().get(), actor=member)
        Incident.objects.update(closed_at=ago(LONG_AGO))

        retention.remove_expired()

        assert incidents() == []

    def test_of_0_days_keeps_everything(self, closed, settings):
        settings.CUBE_ALERT_RETENTION_DAYS = 0

        assert retention.remove_expired() == 0
        assert incidents() == [("failed", False, 1)]

    def test_what_was_closed_by_hand_does_not_come_back(self, schedule, rule, member):
        """The schedule fails no more, for nobody resumed it: its trouble is as old as the incident was."""
        Rule.objects.update(since_at=ago(timedelta(days=100)))
        failed = slot(schedule)
        Slot.objects.filter(pk=failed.pk).update(finished_at=ago(LONG_AGO))
        Schedule.objects.update(failures_in_a_row=1)
        watching.look(project_id=schedule.project_id, schedule_ids=[schedule.pk])
        watching.sweep()

        assert incidents() == []
