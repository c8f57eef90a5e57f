from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone

from apps.alerts import outbox, services
from apps.alerts.models import Channel, Delivery, Incident
from apps.alerts.notifiers import Refused, Unavailable
from apps.alerts.notifiers.fake import SENT, TROUBLE
from apps.core.errors import InvalidTransition

from .conftest import URL, look, send_due, slot

pytestmark = pytest.mark.django_db


@pytest.fixture
def delivery(schedule, rule):
    slot(schedule)
    look(schedule)
    return Delivery.objects.get()


def due_again():
    Delivery.objects.update(next_at=timezone.now() - timedelta(seconds=1))


class TestSending:
    def test_a_message_is_sent_once(self, delivery, settings):
        send_due()
        send_due()

        (target, message), incident = SENT[0], Incident.objects.get()
        delivery.refresh_from_db()
        assert len(SENT) == 1
        assert (delivery.status, delivery.attempts, delivery.problem) == ("sent", 1, "")
        assert (target.url, message.key) == (URL, str(delivery.uid))
        assert message.subject == f"[Cube] {incident.project.slug}/nightly failed"
        assert message.payload["incident"]["uid"] == str(incident.uid)
        assert message.payload["id"] == str(delivery.uid)

    def test_while_one_sends_another_leaves_it(self, delivery):
        assert outbox._claim(delivery.pk) is not None
        send_due()

        assert SENT == []

    def test_who_dies_while_sending_leaves_it_to_be_sent_again_with_the_same_key(self, delivery):
        outbox._claim(delivery.pk)
        due_again()
        send_due()

        assert [message.key for _target, message in SENT] == [str(delivery.uid)]

    def test_trouble_that_may_pass_is_tried_again_later(self, delivery):
        TROUBLE.append(Unavailable("busy"))
        send_due()
        delivery.refresh_from_db()
        waits = (delivery.next_at - timezone.now()).total_seconds()
        send_due()

        assert (delivery.status, delivery.problem, delivery.attempts) == ("pending", "busy", 1)
        assert 10 < waits <= 15
        assert SENT == []
        assert Channel.objects.get().problem == "busy"

    def test_after_the_last_try_it_is_given_up_and_says_why(self, delivery):
        for _try in range(outbox.MOST_ATTEMPTS + 2):
            TROUBLE[:] = [Unavailable("busy")]
            due_again()
            send_due()

        delivery.refresh_from_db()
        assert (delivery.status, delivery.attempts, delivery.problem) == ("failed", 8, "busy")

    def test_what_is_refused_is_not_tried_again(self, delivery):
        TROUBLE.append(Refused("no such hook"))
        send_due()
        due_again()
        send_due()

        assert Delivery.objects.get().status == "failed"
        assert SENT == []

    def test_messages_of_one_incident_keep_their_order(self, delivery, schedule):
        TROUBLE.append(Unavailable("busy"))
        send_due()
        slot(schedule, "succeeded")
        look(schedule)
        send_due()
        early = list(SENT)
        due_again()
        send_due()
        send_due()

        assert early == []
        assert [message.payload["type"] for _target, message in SENT] == ["incident.opened", "incident.resolved"]

    def test_a_channel_that_is_off_gets_nothing(self, delivery, channel, owner):
        services.edit_channel(channel=channel, is_enabled=False, actor=owner)
        send_due()

        assert Delivery.objects.get().status == "dropped"
        assert SENT == []

    def test_a_lost_key_is_the_messages_problem(self, delivery, settings):
        settings.CUBE_ENCRYPTION_KEYS = ["_" * 43 + "="]
        send_due()

        delivery.refresh_from_db()
        assert delivery.status == "pending"
        assert "cannot be decrypted" in delivery.problem

    def test_the_delays_grow_to_a_limit(self):
        seconds = [outbox.delay_after(n).total_seconds() for n in range(1, 9)]

        assert seconds == [15, 30, 60, 120, 240, 480, 960, 1800]

    def test_links_lead_to_the_portal_where_it_is_known(self, schedule, rule, settings):
        settings.CUBE_PORTAL_URL = "https://cube.example.com/"
        slot(schedule)
        look(schedule)

        uid = Incident.objects.get().uid
        expected = f"https://cube.example.com/projects/{schedule.project.slug}/alerts/incidents/{uid}/"
        assert Delivery.objects.get().payload["incident"]["url"] == expected


class TestChannels:
    def test_secrets_are_encrypted_in_the_database(self, channel):
        with connection.cursor() as cursor:
            cursor.execute("SELECT url, host FROM alerts_channel")
            url, host = cursor.fetchone()

        assert "s3cr3t" not in url
        assert host == channel.shown == "hooks.example.com"

    def test_a_test_message_goes_out(self, channel, owner, django_capture_on_commit_callbacks):
        with django_capture_on_commit_callbacks(execute=True):
            services.send_test(channel=channel, actor=owner)

        assert [message.payload["type"] for _target, message in SENT] == ["test"]
        assert Channel.objects.get().last_sent_at is not None

    def test_tests_are_few_a_minute(self, channel, owner):
        for _time in range(3):
            services.send_test(channel=channel, actor=owner)

        with pytest.raises(InvalidTransition):
            services.send_test(channel=channel, actor=owner)

        assert Delivery.objects.count() == 3

    @pytest.mark.parametrize(
        ("asked", "field"),
        [
            ({"kind": "webhook", "url": "ftp://example.com"}, "url"),
            ({"kind": "webhook", "url": ""}, "url"),
            ({"kind": "webhook", "url": "https://user:pw@example.com/"}, "url"),
            ({"kind": "webhook", "url": "http://127.0.0.1/"}, "url"),
            ({"kind": "webhook", "url": "http://[::1]:80/"}, "url"),
            ({"kind": "webhook", "url": "http://[::ffff:10.0.0.1]/"}, "url"),
            ({"kind": "webhook", "url": "http://169.254.169.254/latest/"}, "url"),
            ({"kind": "webhook", "url": "http://localhost./"}, "url"),
            ({"kind": "webhook", "url": "https://example.com/\r\nx"}, "url"),
            ({"kind": "webhook", "url": "https://example.com/", "signing_secret": "x" * 501}, "signing_secret"),
            ({"kind": "email", "addresses": []}, "addresses"),
            ({"kind": "email", "addresses": ["nobody"]}, "addresses"),
            ({"kind": "email", "addresses": ["a@example.com\nBcc: b@example.com"]}, "addresses"),
            ({"kind": "email", "addresses": [f"a{n}@example.com" for n in range(21)]}, "addresses"),
            ({"kind": "pigeon", "url": URL}, "kind"),
        ],
    )
    def test_refuses_what_cannot_be_used(self, project, owner, asked, field):
        with pytest.raises(services.InvalidInput) as refusal:
            services.create_channel(project=project, name="x", actor=owner, **asked)

        assert set(refusal.value.fields) == {field}
        assert not Channel.objects.exists()

    def test_keeps_to_the_domains_an_administrator_allows(self, project, owner, settings):
        settings.CUBE_ALERT_EMAIL_DOMAINS = ["example.com"]
        asked = {"project": project, "kind": "email", "actor": owner}
        services.create_channel(name="ours", addresses=["a@Example.com", "a@Example.com"], **asked)

        with pytest.raises(services.InvalidInput):
            services.create_channel(name="theirs", addresses=["a@example.org"], **asked)

        assert [channel.addresses for channel in Channel.objects.all()] == [["a@Example.com"]]
