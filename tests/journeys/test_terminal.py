"""A debug session in the browser: a command is typed, its output seen, and the session stopped."""

from playwright.sync_api import expect

from .pages import PATIENT, confirm


def test_a_command_is_typed_into_the_container_of_a_job(open_page, ada):
    params = {"image": "python:3.11-slim", "command": "echo $GREETING; exit 1", "env": ["GREETING=hello"]}
    job = ada.submit("broken", "", params=params)
    page = open_page("ada", dark=True)
    page.goto(f"/projects/demo/jobs/{job['uid']}/")

    page.get_by_text("Debug", exact=True).click()
    page.get_by_role("button", name="Start debug session").click()
    expect(page.locator("[data-role=state]")).to_have_text("Connected", timeout=PATIENT)
    page.keyboard.type("echo $((6 * 7))-$GREETING\n")

    rows = page.locator(".xterm-rows")
    expect(rows).to_contain_text("42-hello", timeout=PATIENT)
    page.keyboard.type("until [ \"$(stty size)\" != '24 80' ]; do sleep 0.1; done; echo si''zed\n")
    expect(rows).to_contain_text("sized", timeout=PATIENT)  # the window's size has come to the shell
    page.keyboard.type("printf '\\033[38;2;255;170;170mred\\033[0m\\n'\n")
    expect(rows.get_by_text("red", exact=True)).to_have_css("color", "rgb(255, 170, 170)", timeout=PATIENT)
    page.keyboard.type("seq 60000; echo all-$((60000 + 1))\n")  # more than the window: the browser has to say `drawn`
    expect(rows).to_contain_text("all-60001", timeout=PATIENT)
    page.keyboard.press("Shift+Escape")
    expect(page.get_by_label("For screen readers")).to_be_focused()

    page.get_by_role("button", name="Stop").click()
    confirm(page, "Stop session")
    expect(page.locator("h1 .status-badge")).to_have_text("Stopped", timeout=PATIENT)
