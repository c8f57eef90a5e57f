"""Pipelines in the browser: drawn, saved against somebody else, run, watched; and every page of them on a phone."""

import re

import pytest
from playwright.sync_api import expect

from . import running
from .pages import PATIENT, fits_the_window

PIPELINES = "/projects/demo/pipelines/"
OUTPUT = "printf '{\"rows\": 3}' > $CUBE_OUTPUTS"


def new_pipeline(page, name):
    page.goto(f"{PIPELINES}new/")
    page.get_by_label("Name").fill(name)
    page.get_by_role("button", name="Create and draw").click()
    expect(page.locator(".flow-hint")).to_be_visible()


def boxes(page, text=""):
    found = page.locator(".react-flow__node")
    return found.filter(has_text=text) if text else found


def centre(locator):
    box = locator.bounding_box()
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def draw_arrow(page, start, end):
    """As a hand does it: it waits until the box stands still, and sees the line follow before it lets go."""
    page.locator(f".source[data-nodeid={start}]").hover()
    page.mouse.down()
    x, y = centre(page.locator(f".target[data-nodeid={end}]"))
    page.mouse.move(x - 20, y + 4, steps=4)
    expect(page.locator(".react-flow__connection")).to_be_visible()
    page.mouse.move(x, y, steps=4)
    page.mouse.up()


def save(page, comment, button="Save"):
    page.locator(".flow-bar").get_by_role("button", name=button, exact=True).click()
    page.get_by_label("Comment").fill(comment)
    page.get_by_role("dialog").get_by_role("button", name="Save", exact=True).click()


@pytest.fixture
def echo(ada):
    """The address of a pipeline of one task, made through the API."""
    return lambda name: make(ada, name, {"tasks": {"a": {"template": "command", "params": {"command": "echo hi"}}}})


def make(api, name, graph):
    answer = api.post("/projects/demo/pipelines/", {"name": name, "graph": graph})
    assert answer.status_code == 201, answer.text
    return f"{PIPELINES}{answer.json()['uid']}/"


class TestEditing:
    def test_a_flow_is_drawn_run_and_watched(self, open_page):
        page = open_page("ada")
        new_pipeline(page, "drawn")

        page.locator(".palette-entry", has_text="Command").click()
        page.keyboard.press("/")
        page.keyboard.type("comm")
        page.keyboard.press("Enter")
        expect(boxes(page)).to_have_count(2)
        page.locator("[name=title]").fill("Second")
        expect(boxes(page, "Second")).to_have_count(1)
        draw_arrow(page, "command", "command_2")
        expect(page.locator(".react-flow__edge")).to_have_count(1)
        draw_arrow(page, "command_2", "command")
        expect(page.locator(".toast-note")).to_contain_text("command → command_2 → command")
        expect(page.locator(".react-flow__edge")).to_have_count(1)

        page.locator("[name=param-command]").fill("echo rows: $ROWS")
        page.locator("[name=param-env]").first.fill("ROWS={{ outputs.command.rows }}")
        boxes(page).first.click()
        expect(page.locator("#task-key")).to_have_value("command")
        page.locator("[name=param-command]").fill(OUTPUT)
        save(page, "drawn by hand", button="Run")
        page.get_by_role("button", name="Start the run").click()

        badge = page.locator("#run-head h1 .status-badge")
        expect(badge).to_have_text("Succeeded", timeout=PATIENT)
        boxes(page, "Second").click()
        expect(page.locator("#run-side .logrow", has_text="rows: 3")).to_have_count(1)
        expect(page.locator("#run-side [data-usage]")).to_contain_text("measure")  # or why there is none
        page.get_by_role("tab", name="Gantt").click()
        expect(page.locator(".gantt-bar[data-status=succeeded]")).to_have_count(2)

    def test_drawing_and_yaml_follow_each_other(self, open_page, echo):
        page = open_page("ada")
        page.goto(f"{echo('both-ways')}edit/")
        boxes(page, "a").click()
        page.get_by_role("tab", name="YAML").click()
        text = page.locator("#pipeline-yaml")

        expect(text).to_have_value(re.compile("command: echo hi"))
        text.fill(
            "tasks:\n  a: {template: command, title: From text, params: {command: ls}}\n"
            "  b: {template: none, needs: [a]}"
        )
        expect(boxes(page)).to_have_count(2)
        expect(boxes(page, "From text")).to_have_count(1)
        page.locator(".flow-problems").click()
        page.get_by_role("button", name="tasks.b.template").click()
        expect(page.locator(".field.has-errors [name=template]")).to_have_count(1)

        page.keyboard.press("Escape")
        page.locator(".react-flow__pane").click(position={"x": 10, "y": 10})
        page.keyboard.press("Control+z")
        expect(boxes(page)).to_have_count(1)

    def test_somebody_elses_version_is_not_overwritten_unseen(self, open_page, echo, ada):
        page = open_page("ada", answers=(409,))
        address = echo("contested")
        page.goto(f"{address}edit/")
        boxes(page, "a").click()
        page.locator("[name=title]").fill("Mine")
        theirs = {"tasks": {"a": {"template": "command", "title": "Theirs", "params": {"command": "echo hi"}}}}
        uid = address.rstrip("/").rpartition("/")[2]
        saved = ada.post(f"/pipelines/{uid}/versions/", {"graph": theirs, "comment": "faster"})
        assert saved.status_code == 201, saved.text

        save(page, "mine")
        dialog = page.get_by_role("dialog")
        expect(dialog.locator("tbody tr")).to_have_text(["tasks.a.titleTheirsMine"])
        dialog.get_by_role("button", name="Save mine as version 3").click()

        expect(page.locator(".flow-bar h1")).to_contain_text("version 3")


@pytest.fixture(scope="module")
def demo_run(ada):
    """The demo's own run, which the seeded pipeline makes."""

    def finished():
        runs = ada.get("/projects/demo/runs/").json()["results"]
        return next((run for run in runs if run["pipeline_name"] == "Digits" and run["finished_at"]), None)

    return running.wait_until(finished, seconds=90)


class TestTheDemo:
    def test_it_trains_and_draws_a_chart(self, demo_run, ada):
        assert demo_run["status"] == "succeeded"
        tasks = ada.get(f"/runs/{demo_run['uid']}/tasks/", key="report").json()["results"]
        assert tasks[0]["outputs"]["chart"].endswith("/report.svg")
        assert tasks[0]["outputs"]["accuracy"] > 0.9


class TestOnAPhone:
    @pytest.mark.parametrize("dark", [False, True])
    def test_every_page_fits(self, open_page, echo, dark, demo_run):
        page = open_page("ada", width=390, height=844, dark=dark)
        address = echo(f"phone-{dark}")
        runs = f"{PIPELINES}runs/{demo_run['uid']}/"
        for path in (
            PIPELINES,
            f"{PIPELINES}new/",
            address,
            f"{address}edit/",
            f"{address}start/",
            runs,
            f"{runs}#tasks",
        ):
            page.goto(path)
            expect(page.locator("main h1").first).to_be_visible()
            assert fits_the_window(page), path
