import pytest

from apps.schedules.models import Backfill, Schedule, Slot

from .conftest import at, statuses, tick

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


class TestSchedules:
    def test_is_made_read_changed_and_removed(self, call, pipeline, operator, clock):
        body = {"name": "nightly", "pipeline": str(pipeline.uid), "cron": "30 2 * * MON-FRI", "zone": "Europe/Berlin"}
        status, made = call("post", "projects/{p}/schedules/", body)
        assert (status, made["in_words"]) == (201, "At 02:30 on Monday to Friday")
        assert made["next_logical_at"] == "2026-11-26T01:30:00Z"

        assert call("get", "projects/{p}/schedules/")[1]["results"][0]["uid"] == made["uid"]
        status, changed = call("patch", f"schedules/{made['uid']}/", {"overlap": "skip"})
        assert (status, changed["overlap"]) == (200, "skip")
        assert call("delete", f"schedules/{made['uid']}/")[0] == 403
        assert call("delete", f"schedules/{made['uid']}/", who=operator)[0] == 204
        assert not Schedule.objects.exists()

    def test_refuses_with_the_field_named(self, call, pipeline):
        body = {"name": "x", "pipeline": str(pipeline.uid), "cron": "0 0 30 2 *", "zone": "Mars/Olympus"}

        status, answer = call("post", "projects/{p}/schedules/", body)

        assert status == 400
        assert "zone" in errors_of(answer)
        assert not Schedule.objects.exists()

    def test_a_viewer_reads_and_changes_nothing(self, call, make, viewer, clock):
        schedule = make()

        assert call("get", f"schedules/{schedule.uid}/", who=viewer)[0] == 200
        for method, path, body in [
            ("patch", "", {"overlap": "skip"}), ("post", "pause/", {}), ("post", "run/", {"logical_at": "x"}),
            ("post", "backfills/", {}), ("delete", "", None),
        ]:  # fmt: skip
            assert call(method, f"schedules/{schedule.uid}/{path}", body, who=viewer)[0] == 403
        assert Schedule.objects.get().overlap == "queue"

    def test_previews_a_timetable_while_it_is_typed(self, call, clock, monkeypatch):
        monkeypatch.setattr("apps.schedules.api.views.database_now", clock)

        status, found = call("post", "projects/{p}/schedules/preview/", {"cron": "0 12 * * *"})
        assert (status, len(found["times"]), found["times"][0]) == (200, 20, "2026-11-26T12:00:00Z")

        status, answer = call("post", "projects/{p}/schedules/preview/", {"cron": "61 * * * *"})
        assert (status, errors_of(answer)) == (400, {"cron"})

    def test_pauses_resumes_and_lists_what_comes(self, call, make, clock):
        schedule = make()

        assert call("post", f"schedules/{schedule.uid}/pause/", {"note": "move"})[1]["is_paused"] is True
        assert call("post", f"schedules/{schedule.uid}/resume/")[1]["is_paused"] is False
        assert len(call("get", f"schedules/{schedule.uid}/next/")[1]["times"]) == 20


class TestSlots:
    def test_are_listed_filtered_and_acted_on(self, call, make, operator, clock):
        schedule = make()
        for _minute in range(3):
            tick(clock, seconds=60)

        found = call("get", f"schedules/{schedule.uid}/slots/?status=waiting")[1]["results"]
        assert [slot["reason"] for slot in found] == ["MaxActiveRuns"] * 2
        status, slot = call("post", f"slots/{found[0]['uid']}/skip/", {"note": "n"})
        assert (status, slot["status"]) == (200, "skipped")
        assert call("post", f"slots/{found[1]['uid']}/run/")[1]["status"] == "running"
        assert call("post", f"slots/{found[0]['uid']}/mark/", {"status": "succeeded"})[0] == 403
        assert call("post", f"slots/{found[0]['uid']}/mark/", {"status": "succeeded"}, who=operator)[0] == 200
        assert call("post", f"slots/{found[1]['uid']}/ignore/", {}, who=operator)[0] == 409
        assert call("get", f"schedules/{schedule.uid}/slots/?status=nonsense")[0] == 400

    def test_a_coming_time_is_run_or_skipped(self, call, make, clock):
        schedule = make(cron="*/10 * * * *")

        assert call("post", f"schedules/{schedule.uid}/run/", {"logical_at": "2026-11-25T12:10:00Z"})[0] == 201
        assert call("post", f"schedules/{schedule.uid}/skip/", {"logical_at": "2026-11-25T12:20:00Z"})[0] == 201
        assert call("post", f"schedules/{schedule.uid}/skip/", {"logical_at": "2026-11-25T12:25:00Z"})[0] == 400
        assert statuses(schedule) == ["running", "skipped"]


class TestBackfills:
    def test_preview_start_pause_and_cancel(self, call, make, clock):
        schedule = make(cron="*/10 * * * *")
        body = {"from_at": at(10).isoformat(), "to_at": at(10, 40).isoformat()}

        assert call("post", f"schedules/{schedule.uid}/backfills/preview/", body)[1]["count"] == 5
        assert not Slot.objects.exists()
        status, made = call("post", f"schedules/{schedule.uid}/backfills/", body)
        assert (status, made["slot_count"]) == (201, 5)
        assert call("post", f"backfills/{made['uid']}/pause/")[1]["status"] == "paused"
        assert call("post", f"backfills/{made['uid']}/cancel/")[1]["status"] == "cancelled"
        assert call("post", f"backfills/{made['uid']}/resume/")[0] == 409
        assert call("get", f"schedules/{schedule.uid}/backfills/")[1]["results"][0]["uid"] == made["uid"]
        assert Backfill.objects.count() == 1
