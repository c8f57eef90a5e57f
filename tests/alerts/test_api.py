from datetime import timedelta

import pytest
from django.utils import timezone

from apps.accounts.models import AuditEntry
from apps.alerts import services
from apps.alerts.models import Channel, Delivery, Incident, Rule
from tests.factories import ProjectFactory

from .conftest import URL, look, slot

pytestmark = pytest.mark.django_db


@pytest.fixture
def call(client, member, project):
    """Ask the API as the member, or as `who`; returns (status, body)."""

    def ask(method, path, body=None, who=member):
        client.force_login(who)
        extra = {"data": body, "content_type": "application/json"} if body is not None else {}
        answer = getattr(client, method)(f"/api/v1/{path.format(p=project.slug)}", **extra)
        return answer.status_code, answer.json() if answer.content else None

    return ask


def errors_of(body):
    return {error["field"] for error in body["errors"]}


class TestChannels:
    BODY = {"name": "chat", "kind": "webhook", "url": URL, "signing_secret": "shh"}

    def test_is_made_changed_tested_and_removed_and_its_secrets_are_never_shown(self, call, operator):
        status, made = call("post", "projects/{p}/alert-channels/", self.BODY, who=operator)
        path = f"alert-channels/{made['uid']}/"
        listed = call("get", "projects/{p}/alert-channels/")[1]
        changed = call("patch", path, {"name": "talk"}, who=operator)[1]
        tested = call("post", f"{path}test/", {}, who=operator)
        kept = Channel.objects.get()

        assert (status, made["host"], made["is_signed"]) == (201, "hooks.example.com", True)
        assert "s3cr3t" not in str([made, listed, changed, tested])
        assert "shh" not in str([made, listed, changed, tested])
        assert (changed["name"], kept.url, kept.signing_secret) == ("talk", URL, "shh")
        assert (tested[0], tested[1]["change"]) == (202, "test")
        assert "s3cr3t" not in str(list(AuditEntry.objects.values_list("detail", flat=True)))
        assert call("delete", path, who=operator)[0] == 204
        assert not Channel.objects.exists()

    def test_developers_only_read_them(self, call, channel):
        path = f"alert-channels/{channel.uid}/"

        assert call("get", path)[0] == 200
        assert call("post", "projects/{p}/alert-channels/", self.BODY)[0] == 403
        assert call("patch", path, {"name": "mine"})[0] == 403
        assert call("post", f"{path}test/", {})[0] == 403
        assert call("delete", path)[0] == 403
        assert list(Channel.objects.values_list("name", flat=True)) == ["on call"]
        assert not Delivery.objects.exists()

    def test_says_which_field_is_wrong(self, call, operator):
        body = {**self.BODY, "url": "http://10.0.0.1/"}
        status, refusal = call("post", "projects/{p}/alert-channels/", body, who=operator)

        assert (status, errors_of(refusal)) == (400, {"url"})
        assert not Channel.objects.exists()

    def test_a_name_is_free_or_refused(self, call, channel, operator):
        status, _refusal = call("post", "projects/{p}/alert-channels/", {**self.BODY, "name": "on call"}, who=operator)

        assert status == 400
        assert Channel.objects.count() == 1


class TestRules:
    def test_is_made_changed_and_removed(self, call, channel, schedule):
        body = {"name": "mine", "schedule": str(schedule.uid), "channels": [str(channel.uid)], "on_pause": False}
        status, made = call("post", "projects/{p}/alert-rules/", body)
        path = f"alert-rules/{made['uid']}/"
        changed = call("patch", path, {"schedule": None, "on_lateness": False})[1]

        assert (status, made["schedule"], made["channels"]) == (201, str(schedule.uid), [str(channel.uid)])
        assert (changed["schedule"], changed["on_failure"], changed["on_lateness"]) == (None, True, False)
        assert changed["channels"] == [str(channel.uid)]
        assert call("delete", path)[0] == 204
        assert not Rule.objects.exists()

    def test_refuses_what_is_another_projects(self, call, owner):
        other = services.create_channel(
            project=ProjectFactory(), name="theirs", kind="email", addresses=["a@example.com"], actor=owner
        )
        status, refusal = call("post", "projects/{p}/alert-rules/", {"name": "x", "channels": [str(other.uid)]})

        assert (status, errors_of(refusal)) == (400, {"channels"})
        assert not Rule.objects.exists()

    @pytest.mark.parametrize(
        ("change", "field"),
        [
            ({"on_failure": False, "on_lateness": False, "on_pause": False}, "on_failure"),
            ({"name": " "}, "name"),
            ({"colour": "red"}, "colour"),
        ],
    )
    def test_says_which_field_is_wrong(self, call, change, field):
        status, refusal = call("post", "projects/{p}/alert-rules/", {"name": "x", **change})

        assert (status, errors_of(refusal)) == (400, {field})
        assert not Rule.objects.exists()

    def test_is_about_one_thing(self, call, schedule, pipeline):
        body = {"name": "x", "schedule": str(schedule.uid), "pipeline": str(pipeline.uid)}
        status, refusal = call("post", "projects/{p}/alert-rules/", body)

        assert (status, errors_of(refusal)) == (400, {"schedule"})

    def test_viewers_only_read_them(self, call, rule, viewer):
        path, until = f"alert-rules/{rule.uid}/", (timezone.now() + timedelta(hours=1)).isoformat()

        assert call("get", path, who=viewer)[0] == 200
        assert call("patch", path, {"name": "mine"}, who=viewer)[0] == 403
        assert call("post", f"{path}snooze/", {"until": until}, who=viewer)[0] == 403
        assert Rule.objects.get().snoozed_until is None

    def test_is_snoozed_and_woken(self, call, rule, member):
        until = (timezone.now() + timedelta(hours=1)).isoformat()
        snoozed = call("post", f"alert-rules/{rule.uid}/snooze/", {"until": until, "note": "moving"})[1]
        woken = call("post", f"alert-rules/{rule.uid}/wake/", {})[1]

        assert (snoozed["snoozed_by"], snoozed["snooze_note"]) == (member.username, "moving")
        assert woken["snoozed_until"] is None


class TestIncidents:
    @pytest.fixture
    def incident(self, schedule, rule):
        slot(schedule)
        look(schedule)
        return Incident.objects.get()

    def test_are_listed_filtered_and_read_with_their_messages(self, call, incident, channel):
        found = call("get", "projects/{p}/incidents/?is_open=true&condition=failed")[1]["results"]
        none = call("get", "projects/{p}/incidents/?is_open=false")[1]["results"]
        messages = call("get", f"incidents/{incident.uid}/deliveries/")[1]["results"]

        assert [(row["about"], row["count"]) for row in found] == [("nightly", 1)]
        assert none == []
        assert [(row["channel"], row["change"]) for row in messages] == [(str(channel.uid), "opened")]

    def test_are_snoozed_woken_and_closed(self, call, incident, member):
        path, until = f"incidents/{incident.uid}/", (timezone.now() + timedelta(hours=1)).isoformat()

        assert call("post", f"{path}snooze/", {"until": until})[1]["snoozed_by"] == member.username
        assert call("post", f"{path}wake/", {})[1]["snoozed_until"] is None
        assert call("post", f"{path}close/", {"note": "known"})[1]["close_note"] == "known"
        assert call("post", f"{path}close/", {})[0] == 409
        actions = AuditEntry.objects.filter(action__startswith="incident.").order_by("pk")
        assert [entry.action for entry in actions] == ["incident.snooze", "incident.wake", "incident.close"]

    def test_viewers_only_read_them(self, call, incident, viewer):
        assert call("get", f"incidents/{incident.uid}/", who=viewer)[0] == 200
        assert call("post", f"incidents/{incident.uid}/close/", {}, who=viewer)[0] == 403
        assert Incident.objects.get().is_open
