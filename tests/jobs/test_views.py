import json
import uuid

import pytest
from django.urls import reverse

from apps.jobs import services
from apps.jobs.choices import JobStatus, Reason
from apps.jobs.forms import first_name, next_name
from apps.jobs.models import Job

from .conftest import fresh


def at(name, project, **kwargs):
    return reverse(f"jobs:{name}", kwargs={"project": project.slug, **kwargs})


def posted(**changes):
    return {
        "uid": str(uuid.uuid4()), "name": "train", "cpu": "100m~1", "memory": "64Mi", "gpu": "0", "cluster": "default",
        "priority": "0", "max_retries": "0", "param-text": "hi", **changes,
    }  # fmt: skip


def test_what_holds_a_pod_up_is_told_under_a_heading(client, submit, project, member):
    """A hanging volume has no reason of ours, only the cluster's words."""
    job = submit()
    Job.objects.filter(pk=job.pk).update(status="starting", message="Multi-Attach error for volume pvc-1")
    client.force_login(member)

    page = client.get(at("detail", project, uid=job.uid)).content.decode()

    assert "It does not start yet" in page
    assert "Multi-Attach error for volume pvc-1" in page


class TestList:
    def test_shows_the_projects_own_jobs_to_its_members_only(self, client, submit, project, member, outsider):
        submit(name="train")

        assert client.get(at("list", project)).status_code == 302
        client.force_login(outsider)
        assert client.get(at("list", project)).status_code == 404
        client.force_login(member)
        assert b">train</a>" in client.get(at("list", project)).content

    def test_filters_and_turns_pages_by_key(self, client, submit, project, member):
        first = submit(name="alpha")
        submit(name="beta")
        client.force_login(member)

        assert [j.name for j in client.get(at("list", project), {"search": "alp"}).context["jobs"]] == ["alpha"]
        assert [j.name for j in client.get(at("list", project), {"before": first.pk + 1}).context["jobs"]] == ["alpha"]
        assert [j.name for j in client.get(at("list", project), {"status": "failed"}).context["jobs"]] == []

    def test_rows_and_list_bring_the_counts_of_every_status(self, client, submit, project, member):
        job = submit()
        submit(name="other")
        Job.objects.filter(pk=job.pk).update(status="failed")
        client.force_login(member)

        for page in (at("rows", project) + f"?uid={job.uid}", at("list", project)):
            counts = json.loads(client.get(page)["Cube-Job-Counts"])
            assert counts == {
                "queued": 1, "starting": 0, "running": 0, "stopping": 0, "succeeded": 0, "failed": 1, "stopped": 0,
            }  # fmt: skip

    def test_costs_the_same_for_one_job_and_for_many(self, client, submit, project, member, django_assert_num_queries):
        from django.db import connection
        from django.test.utils import CaptureQueriesContext

        submit()
        client.force_login(member)
        client.get(at("list", project))  # content types are remembered from here on
        with CaptureQueriesContext(connection) as one:
            client.get(at("list", project))
        for n in range(5):
            submit(name=f"job-{n}")
        with django_assert_num_queries(len(one)):
            client.get(at("list", project))

    def test_escapes_what_a_tenant_wrote(self, client, submit, project, member):
        job = submit()
        Job.objects.filter(pk=job.pk).update(name="<script>alert(1)</script>", message="<b>x", status="failed")
        client.force_login(member)

        for page in (at("list", project), at("detail", project, uid=job.uid)):
            body = client.get(page).content
            assert b"<script>alert" not in body
            assert b"<b>x" not in body


class TestSubmit:
    def test_a_filled_form_makes_a_job(self, client, project, member, cluster_row, template_version):
        client.force_login(member)

        answer = client.post(at("submit", project) + "?template=echo", posted())

        job = Job.objects.get()
        assert answer.status_code == 302
        assert answer["Location"] == at("detail", project, uid=job.uid)
        assert (job.name, job.params, job.submitted_by) == ("train", {"text": "hi"}, member)

    def test_sent_twice_is_one_job(self, client, project, member, cluster_row, template_version):
        client.force_login(member)
        form = posted()

        for _ in range(2):
            client.post(at("submit", project) + "?template=echo", form)

        assert Job.objects.count() == 1

    @pytest.mark.parametrize(
        ("change", "field"),
        [({"name": "No Good"}, "name"), ({"cpu": "-1"}, "cpu"), ({"memory": "x"}, "memory"), ({"gpu": "1.5"}, "gpu")],
    )
    def test_a_wrong_field_is_marked_and_nothing_is_saved(
        self, client, project, member, cluster_row, template_version, change, field
    ):
        client.force_login(member)

        answer = client.post(at("submit", project) + "?template=echo", posted(**change))

        assert answer.status_code == 422
        assert answer.context["job_form"].errors[field]
        assert not Job.objects.exists()

    def test_preview_shows_yaml_and_saves_nothing(self, client, project, member, cluster_row, template_version):
        client.force_login(member)

        answer = client.post(at("preview", project) + "?template=echo", posted())

        assert b"kind: Job" in answer.content
        assert not Job.objects.exists()

    def test_a_clone_starts_from_everything_but_the_name(self, client, submit, project, member):
        job = submit(name="train", resources={"cpu": "3", "memory": "1Gi"})
        client.force_login(member)

        form = client.get(at("submit", project) + f"?clone={job.uid}").context["job_form"]

        assert (form["name"].value(), form["cpu"].value()) == ("train-2", "3")

    @pytest.mark.parametrize("bad", ["x", "0", "'", "00000000-0000-4000-8000-000000000000"])
    def test_a_clone_of_nothing_shows_the_gallery(self, client, project, member, template_version, bad):
        client.force_login(member)

        assert client.get(at("submit", project), {"clone": bad}).status_code == 200

    def test_viewers_may_not(self, client, project, viewer, template_version, cluster_row):
        client.force_login(viewer)

        assert client.get(at("submit", project)).status_code == 403
        assert client.post(at("submit", project) + "?template=echo", posted()).status_code == 403
        assert not Job.objects.exists()


class TestAJobThatWaitsForANode:
    SAID = "0/1 nodes are available: 1 Insufficient cpu."

    @pytest.fixture
    def waiting(self, submit):
        job = submit()
        services.record_launched(job_id=job.pk, attempt=1, object_uid="u")
        services.record_stuck(job_id=job.pk, reason=Reason.UNSCHEDULABLE, message=self.SAID)
        return fresh(job)

    def page(self, client, project, job):
        return client.get(at("detail", project, uid=job.uid)).content.decode()

    def test_leads_the_timeline_with_what_it_means(self, client, waiting, project, member):
        client.force_login(member)

        timeline = self.page(client, project, waiting).partition('id="job-timeline"')[2].partition("</li>")[0]

        assert "<strong>No node has room for it</strong>" in timeline
        assert "<p>No node can take it now: short of free processors (1 node)." in timeline
        assert f'<p class="notice-quote mono">{self.SAID}</p>' in timeline

    def test_has_a_log_that_promises_nothing_until_it_runs(self, client, waiting, project, member):
        client.force_login(member)
        before = self.page(client, project, waiting)

        Job.objects.filter(pk=waiting.pk).update(status=JobStatus.RUNNING, reason="", message="")

        assert 'data-idle="Not started">Waiting for a node with room.' in before
        after = self.page(client, project, waiting)
        assert "data-idle" not in after
        assert "Waiting for the first line…" in after


class TestVerbs:
    def test_stop_from_the_page(self, client, submit, project, member):
        job = submit()
        client.force_login(member)

        answer = client.post(at("stop", project, uid=job.uid))

        assert answer["Location"] == at("detail", project, uid=job.uid)
        assert fresh(job).status == JobStatus.STOPPED

    def test_a_refusal_is_told_not_thrown(self, client, submit, project, member):
        job = submit()
        services.stop_job(job=job, actor=member)
        client.force_login(member)

        answer = client.post(at("stop", project, uid=job.uid), follow=True)

        assert b"already finished" in answer.content

    def test_stop_many_takes_only_the_projects_own(self, client, submit, project, member):
        mine = [submit(name=f"j{n}") for n in range(3)]
        client.force_login(member)

        client.post(
            at("stop_many", project), {"uid": [str(mine[0].uid), str(mine[1].uid), "garbage", str(uuid.uuid4())]}
        )

        assert [fresh(j).status for j in mine] == [JobStatus.STOPPED, JobStatus.STOPPED, JobStatus.QUEUED]


@pytest.mark.parametrize(
    ("name", "following"), [("train", "train-2"), ("train-2", "train-3"), ("a" * 63, "a" * 61 + "-2"), ("x-9", "x-10")]
)
def test_next_name(name, following):
    assert next_name(name) == following


@pytest.mark.parametrize(
    ("taken", "name"),
    [([], "python-1"), (["python-1", "other-9"], "python-2"), (["python-7", "python-x", "python"], "python-8")],
)
def test_the_first_name_is_the_next_number(taken, name):
    assert first_name("python", taken) == name
