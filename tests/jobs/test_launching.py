import pytest

from apps.clusters.gateway import Conflict, Forbidden, Invalid, ObjectRef, Unavailable
from apps.jobs import launching, services
from apps.jobs.choices import JobStatus, Reason
from tests.factories import TemplateVersionFactory

from .conftest import ended, fresh


def jobs_in(api):
    return [ref.name for ref in api.objects if ref.kind == "Job"]


class TestLaunchJob:
    def test_waits_for_the_commit(self, submit, cluster):
        submit(launch=False)

        assert jobs_in(cluster) == []

    def test_creates_the_job_in_the_projects_namespace(self, submit, cluster, world):
        job = submit(launch=True)

        made = cluster.objects[world.ref(job)]
        assert fresh(job).status == JobStatus.STARTING
        assert made["metadata"]["labels"]["cube.io/uid"] == str(job.uid)
        assert made["spec"]["template"]["spec"]["containers"][0]["command"] == ["echo", "hi"]
        assert job.attempts.get().object_uid == made["metadata"]["uid"]

    def test_twice_makes_one_object(self, submit, cluster):
        job = submit(launch=True)

        launching.launch_job(job_id=job.pk)

        assert len(jobs_in(cluster)) == 1

    def test_adopts_what_a_killed_launcher_left(self, submit, cluster, world):
        """Killed after the cluster said yes, before the row did."""
        job = submit(launch=True)
        uid = cluster.objects[world.ref(job)]["metadata"]["uid"]
        type(job).objects.filter(pk=job.pk).update(status=JobStatus.QUEUED)

        launching.launch_job(job_id=job.pk)

        assert fresh(job).status == JobStatus.STARTING
        assert cluster.objects[world.ref(job)]["metadata"]["uid"] == uid

    def test_never_adopts_a_strangers_object(self, submit, cluster, world):
        job = submit(launch=True)
        type(job).objects.filter(pk=job.pk).update(status=JobStatus.QUEUED)
        stranger = cluster.objects[world.ref(job)]
        stranger["metadata"]["labels"]["cube.io/uid"] = "another"

        launching.launch_job(job_id=job.pk)

        assert (fresh(job).status, fresh(job).reason) == (JobStatus.FAILED, Reason.REFUSED)

    def test_tells_a_refusal_in_the_clusters_words(self, submit, cluster):
        submit(launch=True)  # the namespace is reconciled
        job = submit(name="second")
        cluster.fail_next(Invalid("spec.template: Invalid value", status=422))

        launching.launch_job(job_id=job.pk)

        assert (fresh(job).status, fresh(job).reason) == (JobStatus.FAILED, Reason.REFUSED)
        assert "Invalid value" in fresh(job).message

    def test_names_a_quota(self, submit, cluster):
        submit(launch=True)
        job = submit(name="second")
        cluster.fail_next(Forbidden("exceeded quota: gpu, requested: 8", status=403))

        launching.launch_job(job_id=job.pk)

        assert fresh(job).reason == Reason.QUOTA

    def test_keeps_the_job_queued_while_the_cluster_is_away(self, submit, cluster):
        job = submit()
        cluster.go_down(Unavailable("no route to host"))

        with pytest.raises(Unavailable):
            launching.launch_job(job_id=job.pk)

        assert fresh(job).status == JobStatus.QUEUED

    def test_takes_back_what_was_stopped_meanwhile(self, submit, cluster, member, monkeypatch):
        job = submit()
        create = type(cluster).create

        def stop_then_create(self, manifest, **kwargs):
            if manifest["kind"] == "Job":
                services.stop_job(job=job, actor=member)
            return create(self, manifest, **kwargs)

        monkeypatch.setattr(type(cluster), "create", stop_then_create)
        launching.launch_job(job_id=job.pk)

        assert fresh(job).status == JobStatus.STOPPED
        assert jobs_in(cluster) == []

    def test_takes_back_what_was_deleted_meanwhile(self, submit, cluster, member, operator, monkeypatch):
        job = submit()
        create = type(cluster).create

        def stop_delete_then_create(self, manifest, **kwargs):
            if manifest["kind"] == "Job":
                services.stop_job(job=job, actor=member)
                services.delete_job(job=job, actor=operator)
            return create(self, manifest, **kwargs)

        monkeypatch.setattr(type(cluster), "create", stop_delete_then_create)
        launching.launch_job(job_id=job.pk)

        assert jobs_in(cluster) == []

    def test_adopts_its_object_when_that_fills_the_quota(self, submit, cluster, world, monkeypatch):
        """The API server asks quotas before it looks whether the name is taken."""
        job = submit(launch=True)
        type(job).objects.filter(pk=job.pk).update(status=JobStatus.QUEUED)

        def refuse(self, manifest, **kwargs):
            raise Forbidden("exceeded quota: jobs, requested: 1, used: 1, limited: 1", status=403)

        monkeypatch.setattr(type(cluster), "create", refuse)
        launching.launch_job(job_id=job.pk)

        assert fresh(job).status == JobStatus.STARTING

    def test_makes_a_namespace_again_that_somebody_deleted(self, submit, cluster, world):
        submit(launch=True)
        cluster.remove(ObjectRef("v1", "Namespace", world.ref(submit()).namespace))
        job = submit(name="second")

        with pytest.raises(Unavailable):
            launching.launch_job(job_id=job.pk)
        launching.launch_job(job_id=job.pk)

        assert fresh(job).status == JobStatus.STARTING

    @pytest.mark.parametrize(
        "refusal",
        [
            Forbidden("Unauthorized", status=401),
            Forbidden("unable to create new content in namespace x because it is being terminated", status=403),
            Conflict('Operation cannot be fulfilled on resourcequotas "q": the object has been modified', status=409),
        ],
    )
    def test_waits_for_what_is_not_the_jobs_fault(self, submit, cluster, refusal):
        submit(launch=True)
        job = submit(name="second")
        cluster.fail_next(refusal)

        with pytest.raises(Unavailable):
            launching.launch_job(job_id=job.pk)

        assert fresh(job).status == JobStatus.QUEUED


class TestSightings:
    def test_an_evicted_pod_that_is_gone_still_tells_why_its_job_failed(self, submit, world, cluster):
        """A drain: the Job counts the pod as failed at once, and ends only when the pod has gone."""
        job = submit(launch=True)
        drained = {"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI", "message": "drain"}
        pod = world.pod(job, conditions=[drained])
        cluster.remove(ObjectRef.of(pod))
        world.see("Pod", pod, deleted=True)

        world.conclude(job, "Failed", reason="BackoffLimitExceeded")

        seen = fresh(job)
        assert (seen.status, seen.reason, seen.message) == (JobStatus.FAILED, Reason.EVICTED, "drain")

    def test_a_running_pod_starts_the_job(self, submit, world):
        job = submit(launch=True)

        world.pod(job)

        assert fresh(job).status == JobStatus.RUNNING
        assert [(p.name, p.node, p.phase) for p in job.attempts.get().pods.all()] == [("p0", "node-a", "Running")]

    def test_repeats_change_nothing(self, submit, world):
        job = submit(launch=True)
        pod = world.pod(job)
        version, events = fresh(job).version, job.events.count()

        world.see("Pod", pod)

        assert (fresh(job).version, job.events.count()) == (version, events)

    def test_completion_succeeds(self, submit, world):
        job = submit(launch=True)
        world.pod(job)

        world.conclude(job, "Complete")

        assert (fresh(job).status, fresh(job).exit_code) == (JobStatus.SUCCEEDED, 0)

    def test_failure_takes_its_reason_from_the_pod(self, submit, world):
        job = submit(launch=True)
        world.pod(job, phase="Failed", state=ended(3))

        world.conclude(job, "Failed", reason="BackoffLimitExceeded")

        done = fresh(job)
        assert (done.status, done.reason, done.exit_code) == (JobStatus.FAILED, Reason.ERROR, 3)
        assert done.message == "The program exited with code 3."

    def test_memory_is_named(self, submit, world):
        job = submit(launch=True)
        world.pod(job, phase="Failed", state=ended(137, "OOMKilled"))

        world.conclude(job, "Failed", reason="BackoffLimitExceeded")

        assert (fresh(job).reason, fresh(job).exit_code) == (Reason.OUT_OF_MEMORY, 137)

    def test_a_stopping_job_is_stopped_when_its_object_goes(self, submit, world, member):
        job = submit(launch=True)
        world.pod(job)
        seen = world.api.objects[world.ref(job)]
        services.stop_job(job=job, actor=member)

        world.see("Job", seen, deleted=True)

        assert (fresh(job).status, fresh(job).reason) == (JobStatus.STOPPED, Reason.STOPPED)

    def test_waiting_says_why_once(self, submit, world):
        job = submit(launch=True)
        said = {"type": "PodScheduled", "status": "False", "message": "0/1 nodes are available: 1 Insufficient cpu."}

        for _ in range(3):
            world.pod(job, phase="Pending", state={}, conditions=[said])

        assert (fresh(job).status, fresh(job).reason) == (JobStatus.STARTING, Reason.UNSCHEDULABLE)
        assert job.events.filter(reason=Reason.UNSCHEDULABLE).count() == 1

    def test_a_forged_label_in_another_namespace_is_ignored(self, submit, world):
        job = submit(launch=True)
        forged = world.api.objects[world.ref(job)]
        forged = {**forged, "metadata": {**forged["metadata"], "namespace": "elsewhere"}}
        forged["status"] = {"conditions": [{"type": "Complete", "status": "True"}]}

        world.see("Job", forged)

        assert fresh(job).status == JobStatus.STARTING


class TestRemoval:
    def test_stopping_deletes_the_object(self, submit, cluster, member, django_capture_on_commit_callbacks):
        job = submit(launch=True)

        with django_capture_on_commit_callbacks(execute=True):
            services.stop_job(job=job, actor=member)

        assert jobs_in(cluster) == []

    def test_deleting_a_job_cleans_the_cluster(self, submit, world, operator, django_capture_on_commit_callbacks):
        job = submit(launch=True)
        world.conclude(job, "Complete")

        with django_capture_on_commit_callbacks(execute=True):
            services.delete_job(job=fresh(job), actor=operator)

        assert jobs_in(world.api) == []

    def test_supports_belong_to_the_job(self, submit, cluster, world, template_version):
        body = {**template_version.body, "files": {"main.py": "print(1)"}}
        version = TemplateVersionFactory(number=2, body=body)

        job = submit(launch=True, template_version=version)

        owner = cluster.objects[world.ref(job)]["metadata"]
        ref = ObjectRef("v1", "ConfigMap", f"{owner['name']}-files", owner["namespace"])
        assert cluster.objects[ref]["metadata"]["ownerReferences"] == [
            {"apiVersion": "batch/v1", "kind": "Job", "name": owner["name"], "uid": owner["uid"]}
        ]

    def test_supports_of_a_launcher_that_died_go_with_a_job_that_is_stopped(
        self, submit, cluster, member, monkeypatch, with_files, django_capture_on_commit_callbacks
    ):
        submit(launch=True)  # the namespace is reconciled
        job = submit(template_version=with_files)
        monkeypatch.setattr(cluster, "create", killed)
        with pytest.raises(KeyboardInterrupt):
            launching.launch_job(job_id=job.pk)
        assert files_in(cluster) == [f"{job.attempts.get().object_name}-files"]
        monkeypatch.undo()

        with django_capture_on_commit_callbacks(execute=True):
            services.stop_job(job=fresh(job), actor=member)

        assert files_in(cluster) == []

    def test_supports_go_when_the_cluster_refuses_the_job(self, submit, cluster, monkeypatch, with_files):
        submit(launch=True)  # the namespace is reconciled
        job = submit(template_version=with_files)
        monkeypatch.setattr(cluster, "create", refused)

        launching.launch_job(job_id=job.pk)

        assert fresh(job).status == JobStatus.FAILED
        assert files_in(cluster) == []


@pytest.fixture
def with_files(template_version):
    return TemplateVersionFactory(number=2, body={**template_version.body, "files": {"main.py": "print(1)"}})


def files_in(api):
    return [ref.name for ref in api.objects if ref.kind == "ConfigMap"]


def killed(manifest, **asked):
    raise KeyboardInterrupt


def refused(manifest, **asked):
    raise Invalid("spec.template: Invalid value", status=422)
