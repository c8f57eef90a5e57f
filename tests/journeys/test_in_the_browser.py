"""Stories in a real browser: what a new user sees and does. Any console error or policy violation fails them."""

import re

from playwright.sync_api import expect

PATIENT = 60_000  # milliseconds: real processes start and end


def submit_command(page, name, command):
    page.goto("/projects/demo/jobs/submit/?template=command")
    page.get_by_label(re.compile("^(Job )?name", re.IGNORECASE)).first.fill(name)
    page.locator("[name$=command]").first.fill(command)
    page.get_by_role("button", name=re.compile("^Submit", re.IGNORECASE)).last.click()
    expect(page.get_by_role("heading", level=1)).to_contain_text(name, timeout=PATIENT)


def test_submit_watch_the_log_arrive_and_succeed(open_page):
    page = open_page("ada")
    command = "python -u -c 'import time; [(print(\"epoch\", n), time.sleep(1)) for n in range(5)]'"

    submit_command(page, "watched", command)

    expect(page.get_by_text("epoch 1", exact=False).first).to_be_visible(timeout=PATIENT)
    expect(page.get_by_text("Succeeded").first).to_be_visible(timeout=PATIENT)
    expect(page.get_by_text("epoch 4", exact=False).first).to_be_visible(timeout=PATIENT)


def test_stop_a_sleeper(open_page):
    page = open_page("dev")
    submit_command(page, "sleeps", "sleep 600")
    expect(page.get_by_text("Running").first).to_be_visible(timeout=PATIENT)

    page.get_by_role("button", name=re.compile("^Stop")).first.click()
    page.get_by_role("dialog").get_by_role("button", name=re.compile("^Stop")).click()

    expect(page.get_by_text("Stopped").first).to_be_visible(timeout=PATIENT)


def test_a_viewer_is_offered_no_submit(open_page):
    page = open_page("viewer")

    page.goto("/projects/demo/jobs/")

    expect(page.get_by_role("heading", name="Jobs")).to_be_visible()
    expect(page.get_by_role("link", name="Submit a job")).to_have_count(0)


def test_narrow_and_dark(open_page):
    page = open_page("ada", width=390, height=844, dark=True)

    page.goto("/projects/demo/jobs/")

    expect(page.get_by_role("link", name="welcome").first).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


def test_the_list_catches_up_after_the_connection_was_away(open_page, ada):
    page = open_page("ada")
    sockets = []

    def first_hears_nothing(socket):
        sockets.append(socket)
        if len(sockets) > 1:
            socket.connect_to_server()

    page.route_web_socket(re.compile("/ws/projects/"), first_hears_nothing)
    job = ada.submit("unheard", "sleep 3")
    page.goto("/projects/demo/jobs/")
    ada.wait_for(job["uid"], "succeeded")
    later = ada.submit("unheard-too", "true")
    row = page.locator(f"tr[data-uid='{job['uid']}']")
    expect(row).not_to_contain_text("Succeeded")

    sockets[0].close(code=1012)

    expect(row).to_contain_text("Succeeded")
    expect(page.locator("tr[data-uid]").first).to_have_attribute("data-uid", later["uid"])
