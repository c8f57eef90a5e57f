"""A schedule in the browser: written beside its next times, watched as they come, one skipped, the past counted."""

import re

import pytest
from playwright.sync_api import expect

from .pages import PATIENT, fill, fits_the_window

SCHEDULES = "/projects/demo/schedules/"


@pytest.fixture
def pipeline(ada):
    """Makes a pipeline of one quick task under that name; gives its uid."""

    def make(name):
        graph = {"tasks": {"a": {"template": "command", "params": {"command": "echo hi"}}}}
        answer = ada.post("/projects/demo/pipelines/", {"name": name, "graph": graph})
        assert answer.status_code == 201, answer.text
        return answer.json()["uid"]

    return make


def test_a_schedule_is_written_watched_and_looked_back_upon(open_page, pipeline):
    page = open_page("ada")
    page.goto(f"/projects/demo/pipelines/{pipeline('often')}/")
    page.get_by_role("tab", name="Schedules").click()
    expect(page.locator("#schedules")).to_contain_text("It runs when somebody starts it")
    page.get_by_role("link", name="Schedule", exact=True).click()

    expect(page.locator("[name=name]")).to_have_value("often")
    preview = page.locator("#timetable")
    fill(page, cron="30 2 * *")
    expect(preview).to_contain_text("This has 4.")
    fill(page, cron="30 2 * * *", zone="Europe/Berlin")
    expect(preview).to_contain_text("At 02:30")
    expect(preview.locator("li").first).to_contain_text(", 02:30")
    page.get_by_text("Fixed interval", exact=True).click()
    fill(page, interval_seconds="10s")
    page.get_by_text("Start, end and spread").click()
    with page.expect_response(re.compile("preview/.*start_at=2020")):  # Else leaving the page breaks it off.
        fill(page, start_at="2020-01-01T00:00")
    expect(preview.locator("li")).to_have_count(20)
    expect(page.locator("[data-group-now]", has_text="Queue: wait, oldest first")).to_be_visible()
    page.get_by_role("button", name="Make schedule").click()

    page.get_by_role("tab", name="Next").click()
    skipped = page.locator("#schedule-next tbody tr").nth(2)
    skipped.get_by_role("button", name="Skip").click()
    slots = page.locator("#schedule-slots tbody tr")
    expect(slots.filter(has_text="Skipped by a person")).to_have_count(1)
    started = slots.filter(has=page.locator("a.row-title"))
    expect(started).not_to_have_count(0, timeout=PATIENT)  # By itself, within ten seconds.
    page.get_by_text("Pause", exact=True).first.click()
    page.get_by_role("button", name="Pause").click()
    expect(page.locator("#schedule-head h1")).to_contain_text("Paused")

    page.get_by_role("link", name="Backfill", exact=True).click()
    fill(page, from_at="2020-01-01T00:00", to_at="2020-01-01T00:00:30")
    expect(page.locator("#preview h2")).to_have_text("4 runs")
    page.go_back()
    started.first.locator("a.row-title").click()
    named = page.locator(".schedule-of-run")
    expect(named).to_contain_text("Europe/Berlin")
    named.get_by_role("link", name="often").click()
    expect(page).to_have_url(re.compile(f"{SCHEDULES}[0-9a-f-]+/$"))


def test_every_page_fits_a_phone(open_page, pipeline, ada):
    asked = {"name": "phone", "pipeline": pipeline("phone-schedule"), "cron": "0 3 * * *", "zone": "Europe/Berlin"}
    answer = ada.post("/projects/demo/schedules/", asked)
    assert answer.status_code == 201, answer.text
    detail = f"{SCHEDULES}{answer.json()['uid']}/"
    page = open_page("ada", width=390, height=844)
    for path in (SCHEDULES, f"{SCHEDULES}new/", detail, f"{detail}#calendar", f"{detail}#next", f"{detail}backfill/"):
        page.goto(path, wait_until="networkidle")
        expect(page.locator("main h1").first).to_be_visible()
        assert fits_the_window(page), path
