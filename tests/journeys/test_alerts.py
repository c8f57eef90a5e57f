"""Alerts in the browser: a rule is made, a run fails while somebody looks, it is snoozed, and a good run ends it."""

import pytest
from playwright.sync_api import expect

from .pages import PATIENT, fill

ALERTS = "/projects/demo/alerts/"


@pytest.fixture
def run(ada):
    """Starts a run of a pipeline named `watched` whose only task ends with that exit code."""
    schema = {"properties": {"code": {"type": "integer", "default": 1}}}
    task = {"template": "command", "params": {"command": "exit $CODE", "env": ["CODE={{ params.code }}"]}}
    made = ada.post("/projects/demo/pipelines/", {"name": "watched", "graph": {"params": schema, "tasks": {"a": task}}})
    assert made.status_code == 201, made.text

    def start(code):
        asked = {"pipeline": made.json()["uid"], "params": {"code": code}}
        answer = ada.post("/projects/demo/runs/", asked)
        assert answer.status_code == 201, answer.text

    return start


def test_an_incident_opens_is_snoozed_and_is_over_while_somebody_looks(open_page, run):
    page = open_page("ada")
    page.goto(f"{ALERTS}rules/new/")
    fill(page, name="watched fails")
    page.locator("[name=pipeline]").select_option(label="watched")
    page.get_by_role("button", name="Make rule").click()
    expect(page.locator("#rules tr", has_text="watched fails")).to_contain_text("Quiet")

    page.get_by_role("link", name="Incidents", exact=True).click()
    opened = page.get_by_role("region", name="Open").get_by_role("link", name="Failed: watched")
    expect(opened).to_have_count(0)
    run(1)
    expect(opened).to_be_visible(timeout=PATIENT)
    opened.click()

    state = page.locator("#incident h1 .status-badge")
    expect(state).to_have_text("Open")
    page.locator("summary", has_text="Snooze").click()
    page.get_by_label("Note").first.fill("a known one")
    page.get_by_role("button", name="Snooze", exact=True).click()
    expect(state).to_have_text("Snoozed")
    expect(page.locator("#incident .notice")).to_contain_text("a known one")

    run(0)
    expect(state).to_have_text("Over", timeout=PATIENT)
    page.get_by_role("navigation", name="Breadcrumb").get_by_role("link", name="Alerts").click()
    expect(page.get_by_role("region", name="History").get_by_role("link", name="Failed: watched")).to_be_visible()
