"""A real Cube with real processes, started once, and a real browser that tells of every complaint."""

import secrets
import shutil
from pathlib import Path

import pytest

from . import running
from .logserver import LogServer, serving
from .pages import sign_in

RESULTS = Path(__file__).resolve().parents[2] / "test-results"


@pytest.fixture(scope="session")
def cube(tmp_path_factory):
    with running.running(tmp_path_factory.mktemp("journeys") / "data") as started:
        yield started


@pytest.fixture(scope="session")
def ada(cube):
    return cube.api("ada")


@pytest.fixture(scope="session")
def outsider(cube):
    """A user name: somebody who is in no project."""
    return add_person(cube, "outsider")


@pytest.fixture(scope="session")
def newcomer(cube):
    """A user name: somebody whom the members page will meet."""
    return add_person(cube, "grace")


def add_person(cube, username):
    password = secrets.token_urlsafe(9)
    cube.manage(
        *("shell", "--no-imports", "--command"),
        f"from apps.accounts.services import create_user; create_user(username={username!r}, password={password!r})",
    )
    cube.more_passwords[username] = password
    return username


@pytest.fixture(scope="session")
def browser():
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if not program:
        pytest.skip("no chromium on this machine; as root, CUBE_INSTALL_CHROMIUM=1 make test installs Debian's")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=program,
            args=[
                *("--no-sandbox", "--disable-gpu", "--no-first-run"),
                *("--disable-background-networking", "--disable-component-update"),
            ],
        )
        yield chromium
        chromium.close()


@pytest.fixture(scope="session")
def cookies():
    """Of people who have signed in before, so that each does it once."""
    return {}


@pytest.fixture
def open_page(browser, cube, cookies, request):
    """`open_page("ada", width=…, dark=…)`: a signed-in page; without a name, a stranger's.

    Any console error, script error or policy violation fails the test. `answers` are the refusals the story is about:
    Chromium complains of those too.
    """
    contexts, complaints = [], []

    def opened(username="", *, width=1280, height=900, dark=False, answers=()):
        context = browser.new_context(
            viewport={"width": width, "height": height},
            color_scheme="dark" if dark else "light",
            base_url=cube.url,
            storage_state=cookies.get(username),
        )
        context.set_default_timeout(20_000)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: complain(message, answers))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        if username and username not in cookies:
            sign_in(page, username, cube.passwords[username])
            cookies[username] = context.storage_state()
        return page

    def complain(message, answers):
        if message.type == "error" and not any(f"status of {answer} " in message.text for answer in answers):
            complaints.append(message.text)

    yield opened
    RESULTS.mkdir(exist_ok=True)
    for number, context in enumerate(contexts):
        for page in context.pages:
            page.screenshot(path=RESULTS / f"{file_name(request.node.name)}-{number}.png", full_page=True)
        context.close()
    assert complaints == []


@pytest.fixture
def serve():
    """`serve(lines, streams=…)`: a log server of one's own; more by `server.push`, `server.say`."""
    opened = []

    def started(lines=(), *, streams=()):
        context = serving(LogServer(streams, lines))
        opened.append(context)
        return context.__enter__()

    yield started
    for context in opened:
        context.__exit__(None, None, None)


@pytest.fixture
def read_log(browser):
    """`read_log(server, hash="", width=…)`: a page with the viewer. Any complaint of the browser fails the test."""
    contexts, complaints = [], []

    def opened(server, hash="", *, width=1280, height=900):
        context = browser.new_context(viewport={"width": width, "height": height}, timezone_id="UTC")
        context.set_default_timeout(15_000)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(f"{server.url}{hash}")
        return page

    yield opened
    for context in contexts:
        context.close()
    assert complaints == []


def file_name(text):
    return "".join(letter if letter.isalnum() or letter in "-_" else "-" for letter in text)[:120]
