"""Jobs with pods that a cluster measures."""

from datetime import UTC, datetime, timedelta

import pytest

from apps.clusters.gateway import METRICS_API
from apps.jobs.models import Attempt, Job, Pod
from apps.metrics.models import PodSample
from tests.factories import ClusterFactory, TemplateVersionFactory

START = datetime(2026, 11, 24, 2, 0, tzinfo=UTC)
MIB = 1 << 20


def after(seconds):
    return START + timedelta(seconds=seconds)


@pytest.fixture
def cluster_row(db):
    return ClusterFactory(slug="default", is_default=True, capabilities=["batch/v1", METRICS_API, "v1"])


@pytest.fixture
def make_job(project, cluster_row):
    """A running job whose first attempt has pods of these names, ranked when there are several."""
    version = TemplateVersionFactory()

    def make(*pods, status="running", name="train", **changes):
        job = Job.objects.create(
            project=project,
            cluster=cluster_row,
            template_version=version,
            name=name,
            status=status,
            resources={"cpu": "500m~1", "memory": "64Mi~256Mi"},
            started_at=START,
            **changes,
        )
        add_attempt(job, *pods, status=status)
        return job

    return make


def add_attempt(job, *pods, number=1, status="running", finished_at=None):
    attempt = Attempt.objects.create(
        job=job, number=number, object_name=f"{job.name}-{number}", status=status, started_at=START,
        finished_at=finished_at,
    )  # fmt: skip
    for rank, name in enumerate(pods):
        Pod.objects.create(
            attempt=attempt, uid=f"{job.pk}-{number}-{rank}", name=name, rank=rank if len(pods) > 1 else None,
            phase="Running", started_at=START,
        )  # fmt: skip
    return attempt


def manifest(job, pod, *, number=1, namespace=None):
    """The pod as its cluster knows it."""
    labels = {
        "app.kubernetes.io/managed-by": "cube",
        "cube.io/kind": "job",
        "cube.io/uid": str(job.uid),
        "cube.io/attempt": str(number),
    }
    return {"metadata": {"name": pod, "namespace": namespace or f"cube-{job.project.slug}", "labels": labels}}


def add_samples(pod, *amounts, every=15, first=0):
    """(millicores, MiB) each, `every` seconds."""
    PodSample.objects.bulk_create(
        PodSample(pod=pod, at=after(first + every * n), cpu_millicores=cpu, memory_bytes=memory * MIB)
        for n, (cpu, memory) in enumerate(amounts)
    )
