import copy
from datetime import timedelta

import pytest
from django.utils import timezone

from apps.clusters.gateway import Unavailable
from apps.jobs import launching, services, sweep, tasks
from apps.jobs.choices import JobStatus, Reason
from apps.jobs.models import Attempt, Job

from .conftest import ended, fresh


def age(job, **by):
    Job.objects.filter(pk=job.pk).update(updated_at=timezone.now() - timedelta(**by))


def end(job, **ago):
    """As if it had been over for a while."""
    Job.objects.filter(pk=job.pk).update(status=JobStatus.STOPPED)
    Attempt.objects.filter(job=job).update(finished_at=timezone.now() - timedelta(**ago))


class TestSweepJobs:
    def test_still_looks_at_a_disabled_cluster_where_something_runs(self, submit, world):
        job = submit(launch=True)
        world.api.set_status(world.ref(job), {"conditions": [{"type": "Complete", "status": "True"}]})
        world.cluster_row.is_enabled = False
        world.cluster_row.save()

        tasks.sweep_jobs()

        assert fresh(job).status == JobStatus.SUCCEEDED


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

    def test_removes_what_runs_for_nobody(self, submit, world, member):
        """Stopped while queued, with a launcher that had already asked and then died."""
        job = submit(launch=True)
        end(job, minutes=2)

        counts = sweep.sweep_cluster(cluster_id=world.cluster_row.pk)

        assert counts["removed"] == 1
        assert world.ref(job) not in world.api.objects

    def test_removes_what_an_earlier_attempt_left_running(self, submit, world):
        job = submit(launch=True, max_retries=1)
        world.pod(job, phase="Pending", state={"waiting": {"reason": "InvalidImageName", "message": "bad"}})
        job.attempts.filter(number=1).update(finished_at=timezone.now() - timedelta(minutes=2))

        sweep.sweep_cluster(cluster_id=world.cluster_row.pk)

        assert fresh(job).status == JobStatus.STARTING
        assert world.ref(job, 1) not in world.api.objects
        assert world.ref(job, 2) in world.api.objects

    @pytest.mark.parametrize(("minutes", "stays"), [(59, True), (61, False)])
    def test_keeps_what_ended_for_an_hour(self, submit, world, minutes, stays):
        job = submit(launch=True)
        world.conclude(job, "Complete")
        end(job, minutes=minutes)

        sweep.sweep_cluster(cluster_id=world.cluster_row.pk)

        assert (world.ref(job) in world.api.objects) is stays

    def test_leaves_alone_what_this_database_does_not_know(self, submit, world):
        job = submit(launch=True)
        made = world.api.objects[world.ref(job)]
        job.attempts.all().delete()
        Job.objects.filter(pk=job.pk).delete()

        sweep.sweep_cluster(cluster_id=world.cluster_row.pk)

        assert made in world.api.objects.values()

    def test_does_not_lose_an_attempt_launched_while_the_cluster_answers(self, submit, world, monkeypatch):
        job = submit(launch=True, max_retries=1)
        age(job, minutes=5)
        answer = type(world.api).list

        def slow(api, api_version, kind, **how):
            found = answer(api, api_version, kind, **how)
            if kind == "Job" and job.attempts.count() == 1:
                services.record_outcome(job_id=job.pk, attempt=1, succeeded=False)
                launching.launch_job(job_id=job.pk)
                world.api.remove(world.ref(job, 1))
            return found

        world.api.remove(world.ref(job, 1))
        monkeypatch.setattr(type(world.api), "list", slow)

        sweep.sweep_cluster(cluster_id=world.cluster_row.pk)

        assert fresh(job).status == JobStatus.STARTING

    def test_believes_only_what_is_in_the_projects_namespace(self, submit, world):
        job = submit(launch=True)
        forged = copy.deepcopy(world.api.objects[world.ref(job)])
        forged["metadata"]["namespace"] = "zz-foreign"
        forged["status"] = {"conditions": [{"type": "Complete", "status": "True"}]}
        world.api.add(forged)

        sweep.sweep_cluster(cluster_id=world.cluster_row.pk)

        assert fresh(job).status == JobStatus.STARTING

    @pytest.mark.parametrize("label", [{"cube.io/uid": "no-uuid"}, {"cube.io/attempt": "x"}])
    def test_is_not_stopped_by_labels_somebody_made_up(self, submit, world, label):
        job = submit(launch=True)
        made = world.api.objects[world.ref(job)]
        odd = copy.deepcopy(made)
        odd["metadata"].update(namespace="aa-foreign", name="odd", labels={**made["metadata"]["labels"], **label})
        world.api.add(odd)
        world.api.set_status(world.ref(job), {"conditions": [{"type": "Complete", "status": "True"}]})

        sweep.sweep_cluster(cluster_id=world.cluster_row.pk)

        assert fresh(job).status == JobStatus.SUCCEEDED

    def test_one_jobs_trouble_stays_its_own(self, submit, world, monkeypatch):
        poor, lucky = submit(launch=True), submit(launch=True, name="lucky")
        for job in (poor, lucky):
            world.api.set_status(world.ref(job), {"conditions": [{"type": "Complete", "status": "True"}]})
        real = services.record_outcome

        def record_outcome(*, job_id, **what):
            if job_id == poor.pk:
                raise ValueError("cannot be stored")
            real(job_id=job_id, **what)

        monkeypatch.setattr(services, "record_outcome", record_outcome)

        counts = sweep.sweep_cluster(cluster_id=world.cluster_row.pk)

        assert (counts["failed"], fresh(lucky).status) == (1, JobStatus.SUCCEEDED)

    def test_asks_the_cluster_a_constant_number_of_times(self, submit, world, monkeypatch):
        for name in ("a", "b", "c"):
            world.pod(submit(launch=True, name=name), name=name)
        asked = []
        answer = type(world.api).list
        monkeypatch.setattr(
            type(world.api), "list", lambda api, *what, **how: asked.append(what) or answer(api, *what, **how)
        )

        sweep.sweep_cluster(cluster_id=world.cluster_row.pk)

        assert asked == [("batch/v1", "Job"), ("v1", "Pod")]

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

    def test_tells_why_a_pod_hangs_on_its_node_and_keeps_waiting(self, submit, world):
        """A volume that another node holds: the pod says ContainerCreating for hours, only its events say more."""
        job = submit(launch=True)
        pod = world.pod(job, phase="Pending", state={"waiting": {"reason": "ContainerCreating"}})
        for name, at, reason, message in (
            ("a", "2026-11-24T02:03:00Z", "FailedAttachVolume", "Multi-Attach error for volume pvc-1"),
            ("b", "2026-11-24T02:01:00Z", "FailedMount", "Unable to attach or mount volumes"),
            ("c", "2026-11-24T02:04:00Z", "Unhealthy", "not about starting"),
        ):
            world.api.add(
                {
                    "apiVersion": "v1",
                    "kind": "Event",
                    "metadata": {"name": name, "namespace": pod["metadata"]["namespace"]},
                    "type": "Warning",
                    "reason": reason,
                    "message": message,
                    "lastTimestamp": at,
                    "involvedObject": {"kind": "Pod", "name": pod["metadata"]["name"]},
                }
            )
        age(job, hours=1)

        sweep.sweep_cluster(cluster_id=world.cluster_row.pk)

        seen = fresh(job)
        assert (seen.status, seen.reason, seen.message) == (
            JobStatus.STARTING,
            "",
            "Multi-Attach error for volume pvc-1",
        )

    def test_concludes_nothing_while_the_cluster_is_away(self, submit, world):
        job = submit(launch=True)
        age(job, hours=1)
        world.api.go_down(Unavailable("down"))

        with pytest.raises(Unavailable):
            sweep.sweep_cluster(cluster_id=world.cluster_row.pk)

        assert fresh(job).status == JobStatus.STARTING
