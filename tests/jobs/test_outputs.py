"""What a task writes to $CUBE_OUTPUTS: read from its pod's status before the job counts as ended."""

import json

import pytest

from apps.jobs.choices import JobStatus
from apps.jobs.models import Job
from apps.jobs.observation import read_outputs

from .conftest import NOW, ended, fresh


def wrote(text):
    return {"terminated": {**ended(0, "Completed")["terminated"], "message": text}}


@pytest.fixture
def job(submit):
    made = submit(launch=True)
    Job.objects.filter(pk=made.pk).update(needs_outputs=True)
    return fresh(made)


class TestReading:
    def test_keeps_an_object(self):
        assert read_outputs('{"rows": 12, "files": ["a"]}') == ({"rows": 12, "files": ["a"]}, "")

    @pytest.mark.parametrize(
        ("text", "word"),
        [
            ("rows=12", "not JSON"),
            ('{"a": ', "not JSON"),
            ("[1]", "no object"),
            ('{"a": NaN}', "cannot be kept"),
            ('{"a": "\\u0000"}', "cannot be kept"),
            ('{"a": "\\ud800"}', "cannot be kept"),
            ("[" * 4000, "not JSON"),
            (json.dumps({"a": "x" * 5000})[-4096:], "more than 4095 bytes"),
        ],
    )
    def test_says_why_the_rest_is_no_use(self, text, word):
        outputs, problem = read_outputs(text)

        assert outputs is None
        assert word in problem


class TestObserving:
    def test_keeps_what_the_pod_wrote(self, job, world):
        world.pod(job, phase="Succeeded", state=wrote('{"rows": 12}'))
        world.conclude(job, "Complete")

        assert (fresh(job).status, job.attempts.get().outputs) == (JobStatus.SUCCEEDED, {"rows": 12})

    def test_reads_the_pod_when_the_job_is_told_first(self, job, world, monkeypatch):
        world.pod(job, phase="Running")
        pod = next(m for r, m in world.api.objects.items() if r.kind == "Pod")
        pod["status"]["phase"] = "Succeeded"
        pod["status"]["containerStatuses"][0]["state"] = wrote('{"rows": 12}')

        world.conclude(job, "Complete")

        assert (fresh(job).status, job.attempts.get().outputs) == (JobStatus.SUCCEEDED, {"rows": 12})

    def test_keeps_why_it_is_no_use(self, job, world):
        world.pod(job, phase="Succeeded", state=wrote("rows=12"))
        world.conclude(job, "Complete")

        attempt = job.attempts.get()
        assert (attempt.outputs, attempt.outputs_problem) == (None, "What it wrote to $CUBE_OUTPUTS is not JSON.")

    def test_the_last_words_of_a_failure_are_none(self, job, world):
        failed = {"terminated": {"exitCode": 1, "reason": "Error", "message": '{"a": 1}', "finishedAt": NOW}}
        world.pod(job, phase="Failed", state=failed)
        world.conclude(job, "Failed")

        assert (fresh(job).status, job.attempts.get().outputs) == (JobStatus.FAILED, None)

    def test_nobody_reads_those_of_other_jobs(self, submit, world):
        job = submit(launch=True)
        world.pod(job, phase="Succeeded", state=wrote('{"rows": 12}'))
        world.conclude(job, "Complete")

        assert job.attempts.get().outputs is None
