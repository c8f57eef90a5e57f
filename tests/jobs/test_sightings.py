"""What a watch tells again asks the database nothing."""

import copy

from apps.jobs.choices import JobStatus, Reason
from apps.jobs.models import Pod

from .conftest import ended, fresh


class TestWatchedPods:
    def test_the_same_facts_twice_ask_the_database_nothing(self, submit, world, django_assert_num_queries):
        job = submit(launch=True)
        stored = copy.deepcopy(world.pod(job))
        stored["metadata"]["annotations"] = {"of-somebody": "else"}

        with django_assert_num_queries(0):
            world.see("Pod", stored)

        assert fresh(job).status == JobStatus.RUNNING

    def test_new_facts_of_the_same_pod_are_recorded(self, submit, world):
        job = submit(launch=True)
        world.pod(job)

        world.pod(job, phase="Failed", state=ended(3))

        assert Pod.objects.get().exit_code == 3

    def test_a_deletion_is_recorded_whatever_was_seen_before(self, submit, world):
        job = submit(launch=True)
        stored = world.pod(job)

        world.see("Pod", stored, deleted=True)

        assert Pod.objects.get().deleted_at is not None

    def test_what_could_not_be_recorded_is_not_remembered(self, submit, world, monkeypatch):
        job = submit(launch=True)
        monkeypatch.setattr("apps.jobs.services.record_pod", broken)
        try:
            stored = world.pod(job)
        except ConnectionError:
            stored = next(manifest for ref, manifest in world.api.objects.items() if ref.kind == "Pod")
        assert Pod.objects.count() == 0
        monkeypatch.undo()

        world.see("Pod", stored)

        assert Pod.objects.get().phase == "Running"


class TestWatchedJobs:
    def test_progress_that_decides_nothing_asks_the_database_nothing(self, submit, world, django_assert_num_queries):
        job = submit(launch=True)
        manifest = world.api.set_status(world.ref(job), {"active": 1, "ready": 1})

        with django_assert_num_queries(0):
            world.see("Job", manifest)

        assert fresh(job).status == JobStatus.STARTING

    def test_an_outcome_is_recorded_once(self, submit, world, django_assert_num_queries):
        job = submit(launch=True)
        complete = {"conditions": [{"type": "Complete", "status": "True", "reason": "Complete"}]}
        manifest = world.api.set_status(world.ref(job), complete)
        world.see("Job", manifest)

        with django_assert_num_queries(0):
            world.see("Job", manifest)

        assert (fresh(job).status, fresh(job).reason) == (JobStatus.SUCCEEDED, Reason.COMPLETED)


def broken(**asked):
    raise ConnectionError("the database is away")
