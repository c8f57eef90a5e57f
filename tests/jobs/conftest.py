"""A world with a fake cluster, a template, and the verbs a cluster would do by itself."""

from datetime import UTC, datetime

import pytest

from apps.clusters.events import WorkloadObserved
from apps.clusters.gateway import ObjectRef
from apps.jobs import handlers, services
from apps.jobs.models import Job
from tests.factories import TemplateVersionFactory

NOW = datetime(2026, 11, 24, 2, 0, tzinfo=UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@pytest.fixture
def template_version(db):
    return TemplateVersionFactory()


@pytest.fixture
def submit(project, member, cluster_row, template_version, django_capture_on_commit_callbacks):
    """Submit a job; `launch=True` also delivers what is announced, so the launcher has run."""

    def make(*, launch=False, **changes):
        asked = {
            "project": project,
            "name": "train",
            "template_version": template_version,
            "params": {"text": "hi"},
            "resources": {"cpu": "100m", "memory": "64Mi"},
            "actor": member,
            **changes,
        }
        with django_capture_on_commit_callbacks(execute=launch):
            job = services.submit_job(**asked)
        job.refresh_from_db()
        return job

    return make


class World:
    """What the cluster and its watcher do to one job."""

    def __init__(self, api, cluster_row, deliver):
        self.api, self.cluster_row, self.deliver = api, cluster_row, deliver

    def ref(self, job, number=1):
        attempt = job.attempts.get(number=number)
        return ObjectRef("batch/v1", "Job", attempt.object_name, f"cube-{job.project.slug}")

    def see(self, kind, manifest, *, deleted=False):
        labels = manifest["metadata"].get("labels", {})
        event = WorkloadObserved(
            cluster_id=self.cluster_row.pk,
            kind=kind,
            namespace=manifest["metadata"]["namespace"],
            name=manifest["metadata"]["name"],
            workload_kind=labels.get("cube.io/kind", ""),
            workload_uid=labels.get("cube.io/uid", ""),
            deleted=deleted,
            manifest=manifest,
        )
        with self.deliver(execute=True):
            handlers.take_in_sighting(event)

    def pod(self, job, *, number=1, phase="Running", state=None, name="p0", conditions=()):
        made = self.api.objects[self.ref(job, number)]
        manifest = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": name,
                "namespace": made["metadata"]["namespace"],
                "labels": made["metadata"]["labels"],
            },
            "spec": {"nodeName": "node-a", "containers": [{"name": "main"}]},
            "status": {
                "phase": phase,
                "conditions": list(conditions),
                "containerStatuses": [
                    {"name": "main", "restartCount": 0, "state": state or {"running": {"startedAt": NOW}}}
                ],
            },
        }
        stored = self.api.add(manifest)
        self.see("Pod", stored)
        return stored

    def conclude(self, job, outcome, *, number=1, reason=""):
        condition = {"type": outcome, "status": "True", "reason": reason or outcome}
        self.see("Job", self.api.set_status(self.ref(job, number), {"conditions": [condition]}))


@pytest.fixture
def world(cluster, cluster_row, django_capture_on_commit_callbacks):
    return World(cluster, cluster_row, django_capture_on_commit_callbacks)


def ended(code, reason="Error"):
    return {"terminated": {"exitCode": code, "reason": reason, "startedAt": NOW, "finishedAt": NOW}}


def fresh(job):
    return Job.objects.get(pk=job.pk)
