import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from apps.alerts import prometheus, services
from apps.alerts.models import Channel, Delivery, Incident, Rule

from .conftest import URL, look, slot

pytestmark = pytest.mark.django_db


@pytest.fixture
def page(client, member, project):
    def ask(path="", method="get", who=member, **data):
        client.force_login(who)
        return getattr(client, method)(f"/projects/{project.slug}/alerts/{path}", data)

    return ask


@pytest.fixture
def incident(schedule, rule):
    slot(schedule)
    look(schedule)
    return Incident.objects.get()


def text_of(answer):
    return answer.content.decode()


class TestIncidents:
    def test_open_ones_and_history_are_shown(self, page, incident, schedule):
        opened = text_of(page())
        slot(schedule, "succeeded")
        look(schedule)
        past = text_of(page())

        assert "Failed: nightly" in opened
        assert "History" not in opened
        assert "Nothing is wrong" in past
        assert "Failed: nightly" in past.partition("History")[2]

    def test_without_rules_it_says_what_to_do_to_those_who_can(self, page, viewer):
        assert "Make the first rule" in text_of(page())
        assert "Developers of this project" in text_of(page(who=viewer))

    def test_the_number_of_queries_does_not_grow(self, page, project, member, schedule):
        def make(n):
            services.create_rule(project=project, name=f"rule {n}", actor=member)

        def count(path):
            with CaptureQueriesContext(connection) as captured:
                assert page(path).status_code == 200
            return len(captured)

        make(0)
        slot(schedule)
        look(schedule)
        page()
        before = [count(path) for path in ("", "rules/", "channels/")]
        for n in range(1, 4):
            make(n)
        slot(schedule)
        look(schedule)

        assert Incident.objects.count() == 4
        assert [count(path) for path in ("", "rules/", "channels/")] == before

    def test_one_shows_its_messages_and_verbs(self, page, incident, viewer):
        mine, theirs = (
            text_of(page(f"incidents/{incident.uid}/")),
            text_of(page(f"incidents/{incident.uid}/", who=viewer)),
        )

        assert "on call" in mine
        assert "snooze/" in mine
        assert "snooze/" not in theirs

    def test_is_snoozed_woken_and_closed(self, page, incident, member):
        page(f"incidents/{incident.uid}/snooze/", "post", hours=4, note="on it")
        incident.refresh_from_db()
        hours = (incident.snoozed_until - timezone.now()).total_seconds() / 3600
        shown = text_of(page(f"incidents/{incident.uid}/"))
        page(f"incidents/{incident.uid}/wake/", "post")
        page(f"incidents/{incident.uid}/close/", "post", note="known")

        assert 3.9 < hours <= 4
        assert "on it" in shown
        assert (Incident.objects.get().closed_by, Incident.objects.get().close_note) == (member, "known")

    def test_a_span_that_is_not_offered_is_refused(self, page, incident):
        page(f"incidents/{incident.uid}/snooze/", "post", hours=9999)

        assert Incident.objects.get().snoozed_until is None

    def test_viewers_cannot(self, page, incident, viewer):
        assert page(f"incidents/{incident.uid}/close/", "post", who=viewer).status_code == 403
        assert Incident.objects.get().is_open


class TestLiveParts:
    @pytest.mark.parametrize("part", ["incidents", "rules", "channels"])
    def test_a_script_is_given_the_part_alone(self, client, member, project, incident, part):
        client.force_login(member)
        url = f"/projects/{project.slug}/alerts/{'' if part == 'incidents' else part + '/'}"

        whole, alone = text_of(client.get(url)), text_of(client.get(url, headers={"HX-Request": "true"}))

        assert f'data-live-part="{part}" data-socket="/ws/projects/{project.slug}/alerts/"' in whole
        assert alone.count(f'id="{part}"') == 1
        assert "<html" not in alone

    def test_of_one_incident_too(self, client, member, project, incident):
        client.force_login(member)
        url = f"/projects/{project.slug}/alerts/incidents/{incident.uid}/"

        assert text_of(client.get(url, headers={"HX-Request": "true"})).strip().startswith('<div id="incident"')


class TestRules:
    def test_is_made_edited_snoozed_and_deleted(self, page, channel, schedule):
        asked = {
            "name": "mine",
            "schedule": schedule.pk,
            "on_failure": "on",
            "channels": [channel.pk],
            "is_enabled": "on",
        }
        made = page("rules/new/", "post", **asked)
        rule = Rule.objects.get()
        page(f"rules/{rule.uid}/snooze/", "post", hours=1)
        shown = text_of(page("rules/"))
        page(f"rules/{rule.uid}/wake/", "post")
        edited = page(f"rules/{rule.uid}/", "post", **{**asked, "name": "ours", "schedule": ""})
        after = Rule.objects.get()

        assert (made.status_code, edited.status_code) == (302, 302)
        assert (rule.schedule, rule.conditions, list(rule.channels.all())) == (schedule, {"failed"}, [channel])
        assert "Snoozed" in shown
        assert (after.name, after.schedule, after.snoozed_until) == ("ours", None, None)
        assert page(f"rules/{rule.uid}/").status_code == 200
        page(f"rules/{rule.uid}/delete/", "post")
        assert not Rule.objects.exists()

    def test_says_what_is_wrong_beside_the_field(self, page):
        answer = page("rules/new/", "post", name="x")

        assert answer.status_code == 422
        assert "Choose at least one trouble" in text_of(answer)
        assert not Rule.objects.exists()


class TestChannels:
    def test_is_made_edited_tested_and_deleted(self, page, operator):
        made = page("channels/new/?kind=webhook", "post", operator, name="chat", url=URL, is_enabled="on")
        channel = Channel.objects.get()
        edited = page(f"channels/{channel.uid}/", "post", operator, name="talk", is_enabled="on")
        page(f"channels/{channel.uid}/test/", "post", operator)
        shown = text_of(page("channels/", who=operator)) + text_of(page(f"channels/{channel.uid}/", who=operator))

        assert (made.status_code, edited.status_code) == (302, 302)
        assert (Channel.objects.get().name, Channel.objects.get().url) == ("talk", URL)
        assert Delivery.objects.get().change == "test"
        assert "hooks.example.com" in shown
        assert "s3cr3t" not in shown
        page(f"channels/{channel.uid}/delete/", "post", operator)
        assert not Channel.objects.exists()

    def test_addresses_are_one_a_line(self, page, operator):
        page("channels/new/", "post", operator, name="mail", addresses="a@example.com, b@example.com\nc@example.com")

        channel = Channel.objects.get()
        assert channel.addresses == ["a@example.com", "b@example.com", "c@example.com"]
        assert "a@example.com" in text_of(page(f"channels/{channel.uid}/", who=operator))

    def test_says_what_is_wrong_beside_the_field(self, page, operator):
        answer = page("channels/new/?kind=webhook", "post", operator, name="x", url="http://192.168.0.1/hook")

        assert answer.status_code == 422
        assert "private network" in text_of(answer)
        assert not Channel.objects.exists()

    def test_developers_only_see_them(self, page, channel):
        shown = text_of(page("channels/"))

        assert "on call" in shown
        assert "Send a test message" not in shown
        assert page(f"channels/{channel.uid}/test/", "post").status_code == 403
        assert not Delivery.objects.exists()


class TestAdmin:
    def test_reads_without_secrets_and_closes_incidents(self, client, incident, channel, django_user_model):
        admin = django_user_model.objects.create_superuser(username="root", is_staff=True)
        client.force_login(admin)
        pages = [client.get(f"/admin/alerts/{name}/") for name in ("incident", "rule", "channel", "delivery")]
        one = client.get(f"/admin/alerts/channel/{channel.pk}/change/")
        client.post("/admin/alerts/incident/", {"action": "close", "_selected_action": [incident.pk]})

        assert [page.status_code for page in [*pages, one]] == [200] * 5
        assert "s3cr3t" not in text_of(one)
        assert Incident.objects.get().closed_by == admin


def test_figures_tell_what_is_open_and_waits(incident):
    text = prometheus.exposition().decode()

    assert 'cube_alerts_incidents_open{condition="failed"} 1.0' in text
    assert 'cube_alerts_incidents_open{condition="late"} 0.0' in text
    assert "cube_alerts_messages_pending 1.0" in text
