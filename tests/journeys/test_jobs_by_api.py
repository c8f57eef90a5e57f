"""The main job through the REST API: every way a job can end."""

import json
import time

import pytest

from . import running


def log_of(api, uid):
    answer = api.get(f"/jobs/{uid}/logs/")
    assert answer.status_code == 200, answer.text
    return answer.text


class TestJobs:
    def test_one_that_succeeds(self, ada):
        job = ada.submit("hello", "python -c 'print(6 * 7)'")

        done = ada.wait_for(job["uid"], "succeeded")

        assert (done["exit_code"], done["reason"]) == (0, "Completed")

    def test_its_log_is_whole(self, ada):
        job = ada.submit("count", "python -c 'for n in range(2000): print(\"line\", n)'")

        ada.wait_for(job["uid"], "succeeded")

        assert until_whole(ada, job["uid"], 2000) == [f"line {n}" for n in range(2000)]

    def test_a_line_of_ten_megabytes_is_whole(self, ada):
        size = 10 * 1024 * 1024
        job = ada.submit("long-line", f'python -c \'print("before"); print("x" * {size}); print("after")\'')

        ada.wait_for(job["uid"], "succeeded")

        before, long, after = until_whole(ada, job["uid"], 3)
        assert (before, len(long), long.count("x"), after) == ("before", size, size, "after")

    def test_following_gives_lines_as_they_come_and_ends_with_the_job(self, ada):
        job = ada.submit("followed", "for n in 1 2 3; do echo tick $n; sleep 2; done")
        address = f"{ada.base}/jobs/{job['uid']}/logs/?follow=true"

        with ada.session.get(address, headers={"Accept": "application/x-ndjson"}, stream=True, timeout=60) as answer:
            seen = [(json.loads(line)["text"], time.monotonic()) for line in answer.iter_lines() if line]

        assert [text for text, _ in seen] == ["tick 1", "tick 2", "tick 3"]
        assert seen[2][1] - seen[0][1] > 3
        assert ada.wait_for(job["uid"], "succeeded")["exit_code"] == 0

    def test_one_that_fails_with_exit_3(self, ada):
        job = ada.submit("three", "exit 3")

        done = ada.wait_for(job["uid"], "failed")

        assert (done["exit_code"], done["reason"]) == (3, "Error")

    def test_one_that_needs_more_memory_than_its_limit(self, ada):
        job = ada.submit("greedy", "python -c 'x = bytearray(400 << 20); import time; time.sleep(30)'")

        done = ada.wait_for(job["uid"], "failed")

        assert done["reason"] == "OOMKilled"

    def test_one_that_sleeps_and_is_stopped(self, ada):
        job = ada.submit("sleeper", running.SLEEPER)
        ada.wait_for(job["uid"], "running")

        answer = ada.post(f"/jobs/{job['uid']}/stop/")

        assert answer.status_code in (200, 202), answer.text
        assert ada.wait_for(job["uid"], "stopped")["reason"] == "Stopped"

    @pytest.mark.parametrize(
        ("field", "body"),
        [
            ("resources.cpu", {"resources": {"cpu": "-1"}}),
            ("resources.memory", {"resources": {"memory": 5}}),
            ("name", {"name": "two words"}),
            ("params.image", {"params": {"image": "python 3", "command": "true"}}),
            ("params.shell", {"params": {"image": "python", "command": "true", "shell": "zsh"}}),
            ("template", {"template": "no-such"}),
            ("colour", {"colour": "blue"}),
        ],
    )
    def test_bad_input_names_the_field_and_makes_nothing(self, ada, field, body):
        before = ada.get("/projects/demo/jobs/").json()["results"]

        answer = ada.post("/projects/demo/jobs/", {**running.command_job("bad", "true"), **body})

        assert answer.status_code == 400
        assert [error["field"] for error in answer.json()["errors"]] == [field]
        after = ada.get("/projects/demo/jobs/").json()["results"]
        assert [job["uid"] for job in after] == [job["uid"] for job in before]

    def test_a_body_that_is_too_large_is_refused(self, ada):
        answer = ada.post("/projects/demo/jobs/", running.command_job("large", "x" * (5 << 20)))

        assert answer.status_code == 413

    def test_a_viewer_may_look_and_not_submit(self, cube, ada):
        viewer = cube.api("viewer")

        answer = viewer.post("/projects/demo/jobs/", running.command_job("no", "true"))

        assert answer.status_code == 403
        assert viewer.get("/projects/demo/jobs/").status_code == 200


def until_whole(api, uid, count):
    """The collector may be a moment behind the watcher."""
    deadline = time.monotonic() + 30
    while True:
        lines = log_of(api, uid).splitlines()
        if len(lines) >= count or time.monotonic() > deadline:
            return lines
        time.sleep(0.3)
