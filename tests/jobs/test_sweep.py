from datetime import timedelta

import pytest
from django.utils import timezone

from apps.clusters.gateway import Unavailable
from apps.jobs import services, sweep, tasks
from apps.jobs.choices import JobStatus, Reason
from apps.jobs.models import Job

from .conftest import ended, fresh


def age(job, **by):
    Job.objects.filter(pk=job.pk).update(updated_at=timezone.now() - timedelta(**by))


class TestSweepJobs:
    def test_launches_what_was_forgotten(self, submit, cluster):
        job = submit()
        age(job, minutes=1)

        tasks.sweep_jobs()

        assert fresh(job).status == JobStatus.STARTING

    def test_leaves_a_fresh_submission_to_its_own_message(self, submit, cluster):
        job = submit()

        tasks.sweep_jobs()

        assert fresh(job).status == JobStatus.QUEUED

    def test_hands_out_a_forgotten_job_once_per_round(self, submit):
        age(submit(), minutes=1)

        assert len(services.claim_forgotten(limit=10)) == 1
        assert services.claim_forgotten(limit=10) == []


class TestSweepCluster:
    def test_catches_up_with_a_lost_success(self, submit, world):
        job = submit(launch=True)
        world.api.set_status(world.ref(job), {"conditions": [{"type": "Complete", "status": "True"}]})

        sweep.sweep_cluster(cluster_id=world.cluster_row.pk)

        assert fresh(job).status == JobStatus.SUCCEEDED

    def test_catches_up_with_a_lost_failure_and_its_pod(self, submit, world):
        job = submit(launch=True)
        pod = world.pod(job)
        world.api.add({**pod, "status": {**pod["status"], "phase": "Failed", "containerStatuses": [
            {"name": "main", "restartCount": 0, "state": ended(3)}]}})  # fmt: skip
        world.api.set_status(world.ref(job), {"conditions": [{"type": "Failed", "status": "True", "reason": "x"}]})

        sweep.sweep_cluster(cluster_id=world.cluster_row.pk)

        assert (fresh(job).status, fresh(job).exit_code) == (JobStatus.FAILED, 3)

    def test_notices_what_somebody_deleted(self, submit, world):
        job = submit(launch=True)
        world.api.remove(world.ref(job))
        age(job, minutes=5)

        sweep.sweep_cluster(cluster_id=world.cluster_row.pk)

        assert (fresh(job).status, fresh(job).reason) == (JobStatus.FAILED, Reason.LOST)

    def test_gives_a_young_job_time(self, submit, world):
        job = submit(launch=True)
        world.api.remove(world.ref(job))

        sweep.sweep_cluster(cluster_id=world.cluster_row.pk)

        assert fresh(job).status == JobStatus.STARTING

    def test_deletes_again_what_should_be_stopping(self, submit, world, member):
        job = submit(launch=True)
        services.stop_job(job=job, actor=member)  # the message to the worker is lost

        sweep.sweep_cluster(cluster_id=world.cluster_row.pk)

        assert world.ref(job) not in world.api.objects

    def test_removes_what_runs_for_nobody(self, submit, world):
        job = submit(launch=True)
        Job.objects.filter(pk=job.pk).update(status=JobStatus.STOPPED)
        old = (timezone.now() - timedelta(minutes=5)).strftime("%Y-%m-%dT%H:%M:%SZ")
        world.api.server.objects[world.ref(job)]["metadata"]["creationTimestamp"] = old

        counts = sweep.sweep_cluster(cluster_id=world.cluster_row.pk)

        assert counts["strays"] == 1
        assert world.ref(job) not in world.api.objects

    def test_tells_why_a_job_has_no_pods(self, submit, world):
        job = submit(launch=True)
        ref = world.ref(job)
        world.api.add(
            {
                "apiVersion": "v1",
                "kind": "Event",
                "metadata": {"name": "e", "namespace": ref.namespace},
                "type": "Warning",
                "reason": "FailedCreate",
                "message": "exceeded quota: q",
                "involvedObject": {"kind": "Job", "name": ref.name},
            }
        )

        sweep.sweep_cluster(cluster_id=world.cluster_row.pk)

        assert (fresh(job).status, fresh(job).reason) == (JobStatus.STARTING, Reason.QUOTA)

    def test_concludes_nothing_while_the_cluster_is_away(self, submit, world):
        job = submit(launch=True)
        age(job, hours=1)
        world.api.go_down(Unavailable("down"))

        with pytest.raises(Unavailable):
            sweep.sweep_cluster(cluster_id=world.cluster_row.pk)

        assert fresh(job).status == JobStatus.STARTING
