import pytest

from apps.pipelines import services as pipelines
from apps.schedules.models import Backfill, Schedule, Slot

from .conftest import at, finish, statuses, story, tick

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _one_clock(monkeypatch, clock):
    monkeypatch.setattr("apps.schedules.views.database_now", clock)


@pytest.fixture
def page(client, member, project):
    client.force_login(member)

    def ask(path="", method="get", who=None, **data):
        if who is not None:
            client.force_login(who)
        return getattr(client, method)(f"/projects/{project.slug}/schedules/{path}", data)

    return ask


def filled(pipeline, **changes):
    asked = {
        "name": "nightly", "pipeline": pipeline.pk, "kind": "cron", "cron": "30 2 * * *", "zone": "Europe/Berlin",
        "fold": "first", "priority": 0, "catch_up": "latest", "catch_up_limit": 5, "catch_up_window_seconds": "1h",
        "overlap": "queue", "max_active_runs": 1, "depends_on_past": "off", "past_allows_missed": "on",
        "run_retries": 1, "run_retry_delay_seconds": "5m", "pause_after_failures": 10,
        "params": "day: monday", "start_at": "2026-12-01T00:00",
    }  # fmt: skip
    return {**asked, **changes}


class TestForm:
    def test_makes_a_schedule_in_its_zone(self, page, pipeline):
        answer = page("new/", "post", **filled(pipeline))

        schedule = Schedule.objects.get()
        assert answer.status_code == 302
        assert (schedule.start_at.isoformat(), schedule.params) == ("2026-11-30T23:00:00+00:00", {"day": "monday"})
        assert (schedule.catch_up_window_seconds, schedule.run_retry_delay_seconds) == (3600, 300)

    @pytest.mark.parametrize(
        ("changes", "words"),
        [
            ({"cron": "0 0 30 2 *"}, "This never comes"),
            ({"zone": "Mars/Olympus"}, "is no time zone"),
            ({"catch_up_window_seconds": "soon"}, "Write a span"),
            ({"params": "- a"}, "Write parameters as"),
            ({"params": "nonsense: 1"}, "nonsense"),
            ({"kind": "interval"}, "Must be from 10 seconds"),
        ],
    )
    def test_says_what_is_wrong_beside_the_field(self, page, pipeline, changes, words):
        answer = page("new/", "post", **filled(pipeline, **changes))

        assert answer.status_code == 422
        assert words in answer.content.decode()
        assert not Schedule.objects.exists()

    def test_edits_and_keeps_what_it_showed(self, page, pipeline, make):
        schedule = make(cron="@daily", zone="Europe/Berlin", start_at=at(20))

        shown = page(f"{schedule.uid}/edit/").content.decode()
        assert 'value="2026-11-25T21:00:00"' in shown
        page(f"{schedule.uid}/edit/", "post", **filled(pipeline, cron="@hourly"))

        assert Schedule.objects.get().cron == "@hourly"

    def test_asks_for_a_line_before_it_complains_of_one(self, page):
        text = page("preview/", kind="cron", cron=" ", zone="UTC").content.decode()

        assert "They appear here while you type." in text
        assert "field-errors" not in text

    def test_previews_while_it_is_typed(self, page):
        good = page("preview/", kind="cron", cron="30 1 * * *", zone="Europe/Berlin", fold="first").content.decode()
        bad = page("preview/", kind="cron", cron="30 1 * *", zone="Europe/Berlin").content.decode()

        assert "At 01:30" in good
        assert good.count("<li>") == 20
        assert "Thu 26 Nov 2026, 01:30" in good
        assert "This has 4." in bad

    @pytest.mark.parametrize("zone", ["", "\x01", "x" * 5000])
    def test_previews_of_nonsense_are_answered(self, page, zone):
        assert page("preview/", kind="cron", cron="* * * * *", zone=zone, start_at="99999-99").status_code == 200


class TestPages:
    def test_the_list_says_what_comes_next(self, page, make, clock):
        make(cron="30 2 * * *", zone="Europe/Berlin")

        text = page().content.decode()

        assert "At 02:30" in text
        assert "Thu 26 Nov 2026, 02:30" in text

    def test_the_list_costs_the_same_however_many_there_are(self, page, make, django_assert_max_num_queries):
        make("a")
        page()
        for number in range(5):
            make(f"s{number}")

        with django_assert_max_num_queries(12):
            page()

    def test_the_page_shows_slots_the_month_and_what_comes(self, page, make, clock, django_assert_max_num_queries):
        schedule = make()
        for _minute in range(3):
            tick(clock, seconds=60)

        with django_assert_max_num_queries(20):
            text = page(f"{schedule.uid}/").content.decode()

        assert "Wed 25 Nov 2026, 12:02" in text
        assert "As many runs as allowed are active" in text
        assert "the time 2026-11-25 12:01:00 (UTC), which is running" in text
        assert "November 2026" in text
        assert page(f"{schedule.uid}/", status="missed").content.decode().count('<tr id="slot-') == 0
        assert page(f"{schedule.uid}/", on="2026-11-25").content.decode().count('<tr id="slot-') == 3

    @pytest.mark.parametrize("query", ["on=0001-01-01", "before=x", "month=9999-99", "status=x", "month=0000-00"])
    def test_odd_addresses_are_answered(self, page, make, query, client, project):
        schedule = make()

        assert client.get(f"/projects/{project.slug}/schedules/{schedule.uid}/?{query}").status_code == 200


class TestJoined:
    """Where schedules, pipelines and runs lead to each other."""

    @pytest.fixture
    def slot(self, make, clock):
        make(cron="0 3 * * *", zone="Europe/Berlin", name="three")
        clock.now = at(2)
        tick(clock, hours=24)
        return Slot.objects.select_related("run", "schedule").get()

    def test_a_time_leads_to_its_run(self, page, slot, client, project):
        run = f'href="/projects/{project.slug}/pipelines/runs/{slot.run.uid}/"'

        text = page(f"{slot.schedule.uid}/").content.decode()

        assert text.count(f'class="row-title" {run}') == 1
        assert text.count(f'title="Running" {run}') == 1  # in the month

    def test_several_times_of_a_day_lead_to_their_list(self, page, make, clock):
        schedule = make()
        for _minute in range(3):
            tick(clock, seconds=60)

        text = page(f"{schedule.uid}/").content.decode()

        assert 'title="Waiting" href="?on=2026-11-25&amp;status=waiting#slots"' in text

    def test_a_backfills_times_lead_to_their_runs(self, page, make, project):
        schedule = make(cron="0 11 * * *")
        asked = {"from_at": "2026-11-25T11:00", "to_at": "2026-11-25T11:00"}
        page(f"{schedule.uid}/backfill/", "post", order="up", reprocess="none", max_active_runs=1, **asked)
        slot = Slot.objects.select_related("run", "backfill").get()

        text = page(f"backfills/{slot.backfill.uid}/").content.decode()

        assert f'href="/projects/{project.slug}/pipelines/runs/{slot.run.uid}/"' in text

    def test_a_run_names_its_schedule_and_logical_time(
        self, page, slot, client, project, django_assert_max_num_queries
    ):
        asked_for = f"/projects/{project.slug}/schedules/of/runs/{slot.run.uid}/"
        client.force_login(slot.schedule.created_by)
        assert (
            f'hx-get="{asked_for}"'
            in client.get(f"/projects/{project.slug}/pipelines/runs/{slot.run.uid}/").content.decode()
        )

        with django_assert_max_num_queries(12):
            text = page(f"of/runs/{slot.run.uid}/").content.decode()

        assert f'<a href="/projects/{project.slug}/schedules/{slot.schedule.uid}/">three</a>' in text
        assert "<strong>Thu 26 Nov 2026, 03:00</strong>" in text

    def test_a_run_of_a_person_names_none(self, page, pipeline, member):
        run = pipelines.start_run(pipeline=pipeline, actor=member)

        assert page(f"of/runs/{run.uid}/").content.decode().strip() == ""

    def test_a_pipeline_lists_its_schedules_with_the_next_time(
        self, page, make, make_pipeline, pipeline, django_assert_max_num_queries
    ):
        make("nightly", cron="30 2 * * *", zone="Europe/Berlin")
        make("of another", pipeline=make_pipeline("other"))

        with django_assert_max_num_queries(12):
            text = page(f"of/pipelines/{pipeline.uid}/").content.decode()

        assert "nightly" in text
        assert "Thu 26 Nov 2026, 02:30" in text
        assert "of another" not in text

    def test_a_pipeline_without_any_offers_to_make_one(self, page, pipeline, viewer):
        path = f"of/pipelines/{pipeline.uid}/"

        assert f"new/?pipeline={pipeline.uid.hex}" in page(path).content.decode()
        assert "new/?pipeline" not in page(path, who=viewer).content.decode()

    def test_the_form_begins_with_the_pipeline_of_the_address(self, page, make_pipeline, pipeline):
        other = make_pipeline("hourly report")

        text = page("new/", pipeline=other.uid).content.decode()
        assert f'<option value="{other.pk}" selected>hourly report</option>' in text
        assert 'name="name" value="hourly report"' in text
        assert "selected>flow" not in page("new/", pipeline="nonsense").content.decode()

    def test_the_page_of_a_pipeline_leads_to_the_form(self, pipeline, client, member, viewer, project):
        address = f"/projects/{project.slug}/pipelines/{pipeline.uid}/"
        link = f"/schedules/new/?pipeline={pipeline.uid}"

        client.force_login(member)
        assert link in client.get(address).content.decode()
        client.force_login(viewer)
        assert link not in client.get(address).content.decode()


class TestVerbs:
    def test_pause_and_resume(self, page, make):
        schedule = make()

        page(f"{schedule.uid}/pause/", "post", note="move")
        assert Schedule.objects.get().paused_note == "move"
        page(f"{schedule.uid}/resume/", "post")

        assert not Schedule.objects.get().is_paused

    def test_slot_verbs(self, page, make, clock, member, operator):
        schedule = make()
        for _minute in range(3):
            tick(clock, seconds=60)
        first, second, third = Slot.objects.order_by("logical_at")

        page(f"slots/{second.uid}/", "post", verb="skip")
        page(f"slots/{third.uid}/", "post", verb="run")
        assert statuses(schedule) == ["running", "skipped", "running"]

        finish(first, "failed")
        assert page(f"slots/{first.uid}/", "post", verb="succeeded").status_code == 403
        page(f"slots/{first.uid}/", "post", verb="succeeded", who=operator)
        assert story(schedule)[0][1:] == ("succeeded", "Marked")

    def test_coming_times(self, page, make):
        schedule = make(cron="*/10 * * * *")

        page(f"{schedule.uid}/times/", "post", logical_at=at(12, 10).isoformat(), verb="skip")
        page(f"{schedule.uid}/times/", "post", logical_at="nonsense", verb="skip")

        assert story(schedule) == [("12:10", "skipped", "ByHand")]

    def test_a_viewer_changes_nothing(self, page, make, viewer):
        schedule = make()

        for path in ("pause/", "delete/", "times/", "backfill/", "edit/"):
            assert page(f"{schedule.uid}/{path}", "post", who=viewer).status_code == 403
        assert not Schedule.objects.get().is_paused


class TestBackfillPages:
    def test_preview_start_and_cancel(self, page, make, clock):
        schedule = make(cron="*/10 * * * *", zone="Europe/Berlin")
        asked = {
            "from_at": "2026-11-25T11:00", "to_at": "2026-11-25T11:40", "order": "up", "reprocess": "none",
            "max_active_runs": 2,
        }  # fmt: skip

        assert "5 runs" in page(f"{schedule.uid}/backfill/preview/", **asked).content.decode()
        assert not Slot.objects.exists()
        answer = page(f"{schedule.uid}/backfill/", "post", **asked)
        backfill = Backfill.objects.get()
        assert answer.url.endswith(f"backfills/{backfill.uid}/")
        assert (backfill.from_at, backfill.slot_count) == (at(10), 5)
        assert "0 of 5" in page(f"backfills/{backfill.uid}/").content.decode()
        page(f"backfills/{backfill.uid}/move/", "post", verb="cancel")

        assert statuses(schedule) == ["running", "running", "skipped", "skipped", "skipped"]

    def test_says_what_is_wrong(self, page, make):
        schedule = make()

        answer = page(f"{schedule.uid}/backfill/", "post", from_at="2027-01-01T00:00", to_at="2027-01-02T00:00",
                      order="up", reprocess="none", max_active_runs=2)  # fmt: skip

        assert answer.status_code == 422
        assert "A backfill is of the past" in answer.content.decode()
