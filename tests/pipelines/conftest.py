"""A pipeline and its runs on a fake cluster, and what a cluster would do to their jobs."""

import pytest

from apps.jobs import services as jobs
from apps.jobs.choices import Reason
from apps.jobs.models import Attempt
from apps.jobs.observation import Failure
from apps.pipelines import services, steering, tasks, woken
from apps.pipelines.models import WHOLE, Run
from tests.factories import TemplateVersionFactory


@pytest.fixture(autouse=True)
def _nothing_is_kept(monkeypatch):
    """Clusters and templates are read anew in every pass: those of another test have the same keys."""
    monkeypatch.setattr("apps.pipelines.submitting.FRESH_SECONDS", 1e-9)
    woken.take(1000)


@pytest.fixture
def template_version(db):
    return TemplateVersionFactory()


def graph_of(**tasks):
    """`graph_of(a={}, b={"needs": ["a"]})`, of the template `echo`."""
    return {"tasks": {key: {"template": "echo", **task} for key, task in tasks.items()}}


@pytest.fixture
def make_pipeline(project, member, cluster_row, template_version):
    def make(name="flow", /, graph=None, **tasks):
        document = graph or graph_of(**(tasks or {"a": {}, "b": {"needs": ["a"]}}))
        return services.create_pipeline(project=project, name=name, graph=document, actor=member)

    return make


def fresh(run):
    return Run.objects.get(pk=run.pk)


class Flow:
    """One run, and the verbs of its cluster and its people. What is announced is delivered at once."""

    def __init__(self, run, deliver, member):
        self.run, self.deliver, self.member = run, deliver, member

    def row(self, key, index=WHOLE):
        return self.run.tasks.get(key=key, index=index)

    @property
    def status(self):
        return fresh(self.run).status

    @property
    def reason(self):
        return fresh(self.run).reason

    def statuses(self):
        """`{"a": "succeeded", "b[0]": "ready"}`."""
        return {str(row): row.status for row in self.run.tasks.all()}

    def running(self, key, index=WHOLE):
        with self.deliver(execute=True):
            job = self.row(key, index).job
            jobs._start(job, 1, "running")
            jobs._save(job, "Running.")

    def succeed(self, key, index=WHOLE, **outputs):
        job = self.row(key, index).job
        if outputs:
            Attempt.objects.filter(job=job).update(outputs=outputs)
        with self.deliver(execute=True):
            jobs.record_outcome(job_id=job.pk, attempt=1, succeeded=True)

    def fail(self, key, index=WHOLE, reason=Reason.ERROR, exit_code=1, message="It broke."):
        with self.deliver(execute=True):
            job = self.row(key, index).job
            failure = Failure(reason, message, exit_code)
            jobs.record_outcome(job_id=job.pk, attempt=1, succeeded=False, failure=failure)

    def advance(self):
        with self.deliver(execute=True):
            tasks.advance_run(run_id=self.run.pk)

    def sweep(self):
        with self.deliver(execute=True):
            tasks.sweep_runs()

    def ask(self, verb, **arguments):
        """A verb of `steering`, by the member."""
        with self.deliver(execute=True):
            return getattr(steering, verb)(run=fresh(self.run), actor=self.member, **arguments)


@pytest.fixture
def flow(make_pipeline, cluster, member, django_capture_on_commit_callbacks):
    """`flow(a={}, b={"needs": ["a"]})` is a run that has begun; its first jobs are on the cluster."""

    def start(graph=None, *, run=None, **tasks):
        deliver = django_capture_on_commit_callbacks
        pipeline = make_pipeline(graph=graph, **tasks)
        with deliver(execute=True):
            started = services.start_run(pipeline=pipeline, actor=member, **(run or {}))
        return Flow(started, deliver, member)

    return start
