"""What people do on Cube's pages, one function per habit."""

import re

from playwright.sync_api import Locator, Page, expect

PATIENT = 60_000  # milliseconds: real processes start and end
JOBS = "/projects/demo/jobs/"
SUBMIT = f"{JOBS}submit/"


def sign_in(page: Page, username: str, password: str) -> None:
    page.goto("/")
    page.get_by_label("User name").fill(username)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("button", name="Sign in")).to_have_count(0)


def fill(page: Page, **values: str) -> None:
    """Fields by their name; a parameter's is `param_…`."""
    for name, value in values.items():
        page.locator(f"[name='{name.replace('param_', 'param-')}']").fill(value)


def submit(page: Page, template: str, **values: str) -> None:
    """Through the form, to the page of the new job."""
    page.goto(f"{SUBMIT}?template={template}")
    fill(page, **values)
    send(page)
    expect(page.locator("h1")).to_contain_text(values["name"], timeout=PATIENT)


def submit_from_workspace(page: Page, template: str, path: str, **values: str) -> None:
    page.goto(f"{SUBMIT}?template={template}")
    fill(page, **values)
    page.get_by_text("In the workspace", exact=True).click()
    fill(page, param_path=path)
    send(page)
    expect(page.locator("h1")).to_contain_text(values["name"], timeout=PATIENT)


def send(page: Page) -> None:
    page.get_by_role("button", name="Submit job").click()


def uid_of(page: Page) -> str:
    found = re.search(r"/jobs/([0-9a-f-]{36})/", page.url)
    assert found, page.url
    return found[1]


def expect_status(page: Page, status: str) -> None:
    expect(page.locator("#job-head h1 .status-badge")).to_have_text(status, timeout=PATIENT)


def expect_fact(page: Page, name: str, value: str) -> None:
    fact = page.locator("#job-head .facts > div").filter(has=page.get_by_text(name, exact=True))
    expect(fact.locator("dd")).to_have_text(value)


def log_rows(page: Page, text: str = "") -> Locator:
    rows = page.locator(".logrow")
    return rows.filter(has_text=text) if text else rows


def confirm(page: Page, action: str) -> None:
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("button", name=action, exact=True).click()
    expect(dialog).to_have_count(0)


def fits_the_window(page: Page) -> bool:
    return bool(page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"))
