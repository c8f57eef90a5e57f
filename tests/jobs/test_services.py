import uuid

import pytest

from apps.accounts.models import AuditEntry
from apps.core.errors import InvalidInput, InvalidTransition
from apps.jobs import services
from apps.jobs.choices import ACTIVE, FINISHED, NEXT, WAITING, JobStatus, Reason
from apps.jobs.models import Attempt, Job, JobEvent, Pod
from apps.jobs.observation import Failure
from apps.jobtemplates import services as templates
from apps.jobtemplates.selectors import latest_version
from apps.projects.services import set_secret
from tests.factories import ProjectFactory, TemplateVersionFactory

from .conftest import ended, fresh


class TestSubmitJob:
    def test_saves_job_attempt_event_and_audit_in_one_go(self, submit, member, project):
        job = submit()

        assert (job.status, job.version, job.submitted_by) == (JobStatus.QUEUED, 0, member)
        assert job.params == {"text": "hi"}
        assert job.resources == {"cpu": "100m", "memory": "64Mi", "gpu": "0"}
        assert [a.object_name for a in job.attempts.all()] == [f"train-{job.uid.hex[:10]}-1"]
        assert [e.text for e in job.events.all()] == ["Submitted."]
        entry = AuditEntry.objects.get(action="job.submit")
        assert (entry.actor, entry.project_slug, entry.detail) == (member, project.slug, {"uid": str(job.uid)})

    def test_names_every_bad_field_and_saves_nothing(self, submit):
        with pytest.raises(InvalidInput) as refusal:
            submit(name="Bad Name", params={"text": 3, "more": 1}, resources={"cpu": "-1", "disk": "1"}, priority=101)

        assert set(refusal.value.fields) == {
            "name", "params.text", "params.more", "resources.cpu", "resources.disk", "priority",
        }  # fmt: skip
        assert not Job.objects.exists()
        assert not Attempt.objects.exists()

    def test_asks_for_a_cluster_when_there_is_none(self, submit, cluster_row):
        cluster_row.delete()

        with pytest.raises(InvalidInput) as refusal:
            submit()

        assert set(refusal.value.fields) == {"cluster"}

    def test_with_a_uid_twice_is_one_job(self, submit):
        uid = uuid.uuid4()

        first, second = submit(uid=uid), submit(uid=uid)

        assert first.pk == second.pk
        assert Job.objects.count() == Attempt.objects.count() == 1

    def test_with_a_uid_of_another_project_is_refused_without_telling_of_it(self, submit):
        taken = submit()
        elsewhere = ProjectFactory(slug="elsewhere")

        with pytest.raises(InvalidInput) as refusal:
            submit(project=elsewhere, uid=taken.uid)

        assert list(refusal.value.fields) == ["uid"]
        assert Job.objects.count() == 1

    def test_refuses_what_no_workload_can_be_made_of(self, submit):
        version = TemplateVersionFactory(number=2, body={"image": {"$param": "text"}})

        with pytest.raises(InvalidInput) as refusal:
            submit(template_version=version, params={"text": ""})

        assert refusal.value.fields == {"params": ["These parameters name no image."]}
        assert not Job.objects.exists()

    def test_takes_no_time_limit_that_kubernetes_would_not(self, submit):
        with pytest.raises(InvalidInput) as refusal:
            submit(time_limit_seconds=10**12)

        assert list(refusal.value.fields) == ["time_limit_seconds"]
        assert not Job.objects.exists()


class TestStopJob:
    def test_ends_a_queued_job_here(self, submit, member):
        job = submit()

        services.stop_job(job=job, actor=member)

        assert (fresh(job).status, fresh(job).reason) == (JobStatus.STOPPED, Reason.STOPPED)
        assert fresh(job).finished_at is not None

    def test_twice_is_fine_and_told_once(self, submit, member, cluster):
        job = submit(launch=True)

        services.stop_job(job=job, actor=member)
        services.stop_job(job=job, actor=member)

        assert fresh(job).status == JobStatus.STOPPING
        assert job.events.filter(text="Asked to stop.").count() == 1

    def test_refuses_a_finished_job(self, submit, member):
        job = submit()
        services.stop_job(job=job, actor=member)
        before = fresh(job).version

        with pytest.raises(InvalidTransition):
            services.stop_job(job=job, actor=member)

        assert fresh(job).version == before


class TestRerunJob:
    def test_is_a_new_job_with_the_same_orders(self, submit, member):
        job = submit(priority=7, max_retries=2)
        services.stop_job(job=job, actor=member)

        again = services.rerun_job(job=job, actor=member)

        assert again.pk != job.pk
        assert again.rerun_of_id == job.pk
        assert (again.params, again.resources, again.priority, again.max_retries) == (job.params, job.resources, 7, 2)
        assert fresh(job).status == JobStatus.STOPPED


class TestDeleteJob:
    def test_refuses_while_it_is_unfinished(self, submit, operator):
        job = submit()

        with pytest.raises(InvalidTransition):
            services.delete_job(job=job, actor=operator)

        assert Job.objects.filter(pk=job.pk).exists()

    def test_removes_the_rows(self, submit, operator):
        job = submit()
        services.stop_job(job=job, actor=operator)

        services.delete_job(job=fresh(job), actor=operator)

        assert not Job.objects.exists()
        assert not JobEvent.objects.exists()
        assert AuditEntry.objects.filter(action="job.delete").count() == 1


class TestRecordOutcome:
    def test_refuses_to_reopen_a_finished_job(self, submit, member):
        job = submit()
        services.stop_job(job=job, actor=member)
        version = fresh(job).version

        services.record_outcome(job_id=job.pk, attempt=1, succeeded=True)

        assert (fresh(job).status, fresh(job).version) == (JobStatus.STOPPED, version)

    def test_tries_again_while_the_job_allows_it(self, submit, cluster):
        job = submit(launch=True, max_retries=1)

        services.record_outcome(job_id=job.pk, attempt=1, succeeded=False, failure=Failure(Reason.ERROR, "exit 3.", 3))

        assert fresh(job).status == JobStatus.QUEUED
        assert [(a.number, a.status, a.exit_code) for a in job.attempts.all()] == [
            (1, JobStatus.FAILED, 3),
            (2, JobStatus.QUEUED, None),
        ]

    def test_ignores_news_of_an_earlier_attempt(self, submit, cluster):
        job = submit(launch=True, max_retries=1)
        services.record_outcome(job_id=job.pk, attempt=1, succeeded=False)

        services.record_outcome(job_id=job.pk, attempt=1, succeeded=True)

        assert fresh(job).status == JobStatus.QUEUED


class TestRecordLaunched:
    def test_of_an_earlier_attempt_starts_nothing(self, submit):
        """Else the second attempt would count as launched, though nobody asked the cluster for it."""
        job = submit(max_retries=1)
        services.record_launched(job_id=job.pk, attempt=1, object_uid="a")
        services.record_outcome(job_id=job.pk, attempt=1, succeeded=False)

        wanted = services.record_launched(job_id=job.pk, attempt=1, object_uid="a")

        assert wanted
        assert fresh(job).status == JobStatus.QUEUED


class TestWatchAheadOfTheLauncher:
    """The launcher died, or was slow, after the cluster had said yes: the row still says queued."""

    def test_a_success_counts(self, submit):
        job = submit()

        services.record_outcome(job_id=job.pk, attempt=1, succeeded=True)

        assert fresh(job).status == JobStatus.SUCCEEDED

    def test_a_failure_is_tried_again(self, submit):
        job = submit(max_retries=1)

        services.record_outcome(job_id=job.pk, attempt=1, succeeded=False)

        assert (fresh(job).status, job.attempts.count()) == (JobStatus.QUEUED, 2)


class TestRecordPod:
    def test_tells_the_start_of_a_job_that_ended_before_its_pod_was_seen(self, submit, world):
        job = submit(launch=True)
        world.conclude(job, "Complete")

        world.pod(job, phase="Succeeded", state=ended(0, "Completed"))

        assert fresh(job).started_at is not None
        assert fresh(job).elapsed_seconds is not None

    def test_does_not_go_back_to_pending(self, submit, world):
        job = submit(launch=True)
        pod = world.pod(job)

        world.see("Pod", {**pod, "status": {"phase": "Pending"}})

        assert Pod.objects.get(attempt__job=job).phase == "Running"

    def test_of_a_stopping_job_does_not_turn_the_stop_into_a_failure(self, submit, world, member):
        job = submit(launch=True)
        services.stop_job(job=job, actor=member)

        world.pod(job, phase="Pending", state={"waiting": {"reason": "InvalidImageName", "message": "bad"}})

        assert fresh(job).status == JobStatus.STOPPING


class TestStatuses:
    def test_each_is_in_exactly_one_set(self):
        assert sorted(s for group in (WAITING, ACTIVE, FINISHED) for s in group) == sorted(JobStatus)

    def test_finished_ones_lead_nowhere(self):
        assert {status for status, following in NEXT.items() if not following} == FINISHED


class TestSecrets:
    def test_a_job_may_not_ask_for_one_the_project_does_not_have(self, project, member, cluster_row):
        templates.install_shipped()
        asked = {"image": "python:3.11-slim", "command": "env", "secret_env": ["TOKEN=hub/TOKEN"]}
        given = {"project": project, "name": "x", "template_version": latest_version("command"), "actor": member}

        with pytest.raises(InvalidInput) as refusal:
            services.submit_job(params=asked, **given)

        assert refusal.value.fields == {"params.secret_env[0]": ["The project has no secret hub/TOKEN."]}
        assert not Job.objects.exists()
        set_secret(project=project, name="hub", data={"TOKEN": "s"}, actor=member)
        assert services.submit_job(params=asked, **given).name == "x"
