"""A real Cube with real processes, started once, and a real browser that tells of every complaint."""

import shutil
from pathlib import Path

import pytest

from . import running

RESULTS = Path(__file__).resolve().parents[2] / "test-results"
CHROMIUM = "/usr/bin/chromium"


@pytest.fixture(scope="session")
def cube(tmp_path_factory):
    with running.running(tmp_path_factory.mktemp("journeys") / "data") as started:
        yield started


@pytest.fixture(scope="session")
def ada(cube):
    return cube.api("ada")


@pytest.fixture(scope="session")
def browser():
    if not Path(CHROMIUM).exists() and not shutil.which("chromium"):
        pytest.skip("no chromium on this machine; as root, CUBE_INSTALL_CHROMIUM=1 make test installs Debian's")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=shutil.which("chromium") or CHROMIUM,
            args=[
                *("--no-sandbox", "--disable-gpu", "--no-first-run"),
                *("--disable-background-networking", "--disable-component-update"),
            ],
        )
        yield chromium
        chromium.close()


@pytest.fixture
def open_page(browser, cube, request):
    """`open_page("ada", width=…, dark=…)`: a signed-in page. Any console error or policy violation fails the test."""
    RESULTS.mkdir(exist_ok=True)
    contexts, complaints = [], []

    def opened(username, *, width=1280, height=900, dark=False):
        context = browser.new_context(
            viewport={"width": width, "height": height},
            color_scheme="dark" if dark else "light",
            base_url=cube.url,
        )
        context.set_default_timeout(20_000)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda m: complaints.append(m.text) if m.type == "error" and expected(m) else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        if username:
            sign_in(page, username, cube.passwords[username])
        return page

    def expected(message):
        return "status of 400" not in message.text and "status of 422" not in message.text  # refused forms

    yield opened
    for number, context in enumerate(contexts):
        for page in context.pages:
            page.screenshot(path=RESULTS / f"{request.node.name}-{number}.png", full_page=True)
        context.close()
    assert complaints == []


def sign_in(page, username, password):
    page.goto("/")
    page.get_by_label("User name", exact=False).or_(page.get_by_label("Username", exact=False)).first.fill(username)
    page.locator("input[type=password]").fill(password)
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("heading", name="Overview").wait_for()
