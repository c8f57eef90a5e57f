import uuid

import pytest

from apps.accounts.models import AuditEntry
from apps.core.errors import InvalidInput
from apps.jobs import services
from apps.jobs.choices import JobStatus
from apps.jobs.models import Attempt, Job, JobEvent
from tests.factories import ProjectFactory


@pytest.fixture
def draft(project, member, cluster_row, template_version):
    def make(**changes):
        asked = {
            "project": project, "name": "train", "template_version": template_version, "params": {},
            "cluster": cluster_row, "actor": member, **changes,
        }  # fmt: skip
        return services.draft_job(**asked)

    return make


def test_many_are_launched_like_one(draft, cluster, django_capture_on_commit_callbacks):
    with django_capture_on_commit_callbacks(execute=True):
        made = services.submit_jobs(drafts=[draft(name=f"train-{n}") for n in range(3)])

    assert [job.name for job in made] == ["train-0", "train-1", "train-2"]
    assert set(Job.objects.values_list("status", flat=True)) == {JobStatus.STARTING}
    assert [a.object_name for a in Attempt.objects.order_by("id")] == [
        f"train-{n}-{job.uid.hex[:10]}-1" for n, job in enumerate(made)
    ]
    assert JobEvent.objects.filter(text="Submitted.").count() == 3
    assert AuditEntry.objects.filter(action="job.submit", actor__isnull=False).count() == 3


def test_many_cost_as_many_queries_as_few(draft, django_assert_num_queries):
    for count in (2, 20):
        drafts = [draft() for _ in range(count)]
        with django_assert_num_queries(5):  # twins, jobs, attempts, events, audit
            services.submit_jobs(drafts=drafts)


def test_a_known_uid_is_the_job_it_was(draft):
    uid = uuid.uuid4()
    (first,) = services.submit_jobs(drafts=[draft(uid=uid)])

    again, other = services.submit_jobs(drafts=[draft(uid=uid), draft()])

    assert again.pk == first.pk
    assert Job.objects.count() == Attempt.objects.count() == 2
    assert other.pk != first.pk


def test_refuses_another_projects_uid_and_makes_none(draft):
    uid = uuid.uuid4()
    services.submit_jobs(drafts=[draft(uid=uid, project=ProjectFactory())])

    with pytest.raises(InvalidInput) as refusal:
        services.submit_jobs(drafts=[draft(), draft(uid=uid)])

    assert list(refusal.value.fields) == ["jobs[1].uid"]
    assert Job.objects.count() == 1
