"""The main job through the REST API: every way a job can end."""

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

        lines = until_complete(ada, job["uid"], 2000)
        assert [line.rpartition("line ")[2] for line in lines] == [str(n) for n in range(2000)]

    def test_one_that_fails_with_exit_3(self, ada):
        job = ada.submit("three", "exit 3")

        done = ada.wait_for(job["uid"], "failed")

        assert (done["exit_code"], done["reason"]) == (3, "Error")

    def test_one_that_needs_more_memory_than_its_limit(self, ada):
        job = ada.submit("greedy", "python -c 'x = bytearray(400 << 20); import time; time.sleep(30)'")

        done = ada.wait_for(job["uid"], "failed")

        assert done["reason"] == "OOMKilled"

    def test_one_that_sleeps_and_is_stopped(self, ada):
        job = ada.submit("sleeper", "sleep 600")
        ada.wait_for(job["uid"], "running")

        answer = ada.post(f"/jobs/{job['uid']}/stop/")

        assert answer.status_code in (200, 202), answer.text
        assert ada.wait_for(job["uid"], "stopped")["reason"] == "Stopped"

    def test_bad_input_names_the_field_and_makes_nothing(self, ada):
        before = ada.get("/projects/demo/jobs/").json()["results"]

        answer = ada.post("/projects/demo/jobs/", {**running.command_job("bad", "true"), "resources": {"cpu": "-1"}})

        assert answer.status_code == 400
        assert [error["field"] for error in answer.json()["errors"]] == ["resources.cpu"]
        after = ada.get("/projects/demo/jobs/").json()["results"]
        assert [job["uid"] for job in after] == [job["uid"] for job in before]

    def test_a_viewer_may_look_and_not_submit(self, cube, ada):
        viewer = cube.api("viewer")

        answer = viewer.post("/projects/demo/jobs/", running.command_job("no", "true"))

        assert answer.status_code == 403
        assert viewer.get("/projects/demo/jobs/").status_code == 200


def until_complete(api, uid, count):
    """The collector may be a moment behind the watcher."""
    import time

    deadline = time.monotonic() + 20
    while True:
        lines = [line for line in log_of(api, uid).splitlines() if line]
        if len(lines) >= count or time.monotonic() > deadline:
            return lines
        time.sleep(0.3)
