import uuid

import pytest
from rest_framework.test import APIClient

from apps.clusters.gateway import ObjectRef
from apps.core import crypto
from apps.jobs.choices import JobStatus
from apps.jobs.models import Job

from .conftest import fresh

HELLO = {
    "name": "hello",
    "template": "echo",
    "params": {"text": "hi"},
    "resources": {"cpu": "100m~1", "memory": "64Mi"},
}


@pytest.fixture
def api(member):
    client = APIClient()
    client.force_authenticate(member)
    return client


@pytest.fixture
def ready(cluster_row, template_version):
    """A cluster and a template to submit to."""


def url(project, **query):
    return f"/api/v1/projects/{project.slug}/jobs/"


def test_reading_decrypts_no_kubeconfig(api, project, submit, monkeypatch, client, member):
    job = submit()
    client.force_login(member)

    def refuse(token):
        raise AssertionError("a kubeconfig was decrypted for a page of jobs")

    monkeypatch.setattr(crypto, "decrypt", refuse)

    for address in (url(project), f"/api/v1/jobs/{job.uid}/"):
        assert api.get(address).status_code == 200
    for page in (f"/projects/{project.slug}/jobs/", f"/projects/{project.slug}/jobs/{job.uid}/"):
        assert client.get(page).status_code == 200


@pytest.mark.usefixtures("ready")
class TestSubmitting:
    def test_answers_with_the_job(self, api, project, member):
        answer = api.post(url(project), HELLO)

        assert answer.status_code == 201
        body = answer.json()
        assert (body["name"], body["status"], body["template"], body["template_version"]) == (
            "hello",
            "queued",
            "echo",
            1,
        )
        assert (body["project"], body["submitted_by"]) == (project.slug, member.username)
        assert body["resources"] == {"cpu": "100m~1", "memory": "64Mi", "gpu": "0"}
        assert Job.objects.get().uid == uuid.UUID(body["uid"])

    @pytest.mark.parametrize(
        ("change", "field"),
        [
            ({"nonsense": 1}, "nonsense"),
            ({"name": "Bad Name"}, "name"),
            ({"template": "nothing"}, "template"),
            ({"template_version": 9}, "template"),
            ({"params": {"text": 3}}, "params.text"),
            ({"params": {"other": "x"}}, "params.other"),
            ({"params": []}, "params"),
            ({"resources": {"cpu": "-1"}}, "resources.cpu"),
            ({"resources": {"memory": "lots"}}, "resources.memory"),
            ({"resources": {"gpu": "half"}}, "resources.gpu"),
            ({"resources": {"cpu": "4~2"}}, "resources.cpu"),
            ({"priority": 1000}, "priority"),
            ({"cluster": "mars"}, "cluster"),
            ({"max_retries": -1}, "max_retries"),
        ],
    )
    def test_bad_input_is_a_clear_error_on_its_field(self, api, project, change, field):
        answer = api.post(url(project), {**HELLO, **change})

        assert answer.status_code == 400
        assert answer["Content-Type"].startswith("application/problem+json")
        assert field in [e["field"] for e in answer.json()["errors"]]
        assert not Job.objects.exists()

    def test_dry_run_shows_the_manifests_and_saves_nothing(self, api, project):
        uid = str(uuid.uuid4())

        answer = api.post(url(project) + "?dry_run=true", {**HELLO, "uid": uid})

        assert answer.status_code == 200
        assert [m["kind"] for m in answer.json()["manifests"]] == ["Job"]
        assert f"cube.io/uid: {uid}" in answer.json()["yaml"]
        assert not Job.objects.exists()

    def test_sends_exactly_what_the_dry_run_showed(self, api, project, cluster, django_capture_on_commit_callbacks):
        asked = {**HELLO, "uid": str(uuid.uuid4())}
        shown = api.post(url(project) + "?dry_run=true", asked).json()["manifests"][-1]

        with django_capture_on_commit_callbacks(execute=True):
            api.post(url(project), asked)

        meta = shown["metadata"]
        sent = cluster.objects[ObjectRef("batch/v1", "Job", meta["name"], meta["namespace"])]
        assert sent["spec"] == shown["spec"]
        assert sent["metadata"]["labels"] == meta["labels"]

    def test_the_same_uid_is_one_job(self, api, project):
        asked = {**HELLO, "uid": str(uuid.uuid4())}

        assert api.post(url(project), asked).json()["uid"] == api.post(url(project), asked).json()["uid"]
        assert Job.objects.count() == 1


class TestRoles:
    @pytest.mark.parametrize(
        ("who", "reading", "submitting", "stopping", "deleting"),
        [
            ("outsider", 404, 404, 404, 404),
            ("viewer", 200, 403, 403, 403),
            ("member", 200, 201, 200, 403),
            ("operator", 200, 201, 200, 409),
            ("owner", 200, 201, 200, 409),
        ],
    )
    def test_decide_what_the_api_allows(self, request, submit, project, who, reading, submitting, stopping, deleting):
        job = submit()
        client = APIClient()
        client.force_authenticate(request.getfixturevalue(who))
        one = f"/api/v1/jobs/{job.uid}/"

        assert client.get(url(project)).status_code == reading
        assert client.get(one).status_code == reading
        assert client.get(one + "manifests/").status_code == reading
        assert client.delete(one).status_code == deleting
        assert client.post(url(project), HELLO).status_code == submitting
        assert client.post(one + "stop/").status_code == stopping
        assert Job.objects.count() == 1 + (submitting == 201)
        assert (fresh(job).status == JobStatus.STOPPED) == (stopping == 200)


class TestVerbs:
    def test_rerun_answers_with_the_new_job(self, api, submit):
        job = submit()
        api.post(f"/api/v1/jobs/{job.uid}/stop/")

        answer = api.post(f"/api/v1/jobs/{job.uid}/rerun/")

        assert answer.status_code == 201
        assert answer.json()["rerun_of"] == str(job.uid)
        assert answer.json()["uid"] != str(job.uid)

    def test_stopping_what_has_finished_is_a_conflict(self, api, submit):
        job = submit()
        api.post(f"/api/v1/jobs/{job.uid}/stop/")

        answer = api.post(f"/api/v1/jobs/{job.uid}/stop/")

        assert (answer.status_code, answer.json()["code"]) == (409, "invalid_transition")

    def test_detail_tells_attempts_pods_and_timeline(self, api, submit, world):
        job = submit(launch=True)
        world.pod(job)

        body = api.get(f"/api/v1/jobs/{job.uid}/").json()

        assert body["status"] == "running"
        assert body["attempts"][0]["pods"][0]["node"] == "node-a"
        assert [e["status"] for e in body["events"]] == ["queued", "starting", "running"]


class TestListing:
    def test_filters_and_pages(self, api, submit, project):
        jobs = [submit(name=f"job-{n}") for n in range(3)]
        api.post(f"/api/v1/jobs/{jobs[0].uid}/stop/")

        names = [j["name"] for j in api.get(url(project) + "?status=queued").json()["results"]]
        page = api.get(url(project) + "?page_size=2").json()

        assert names == ["job-2", "job-1"]
        assert [j["name"] for j in page["results"]] == ["job-2", "job-1"]
        assert [j["name"] for j in api.get(page["next"]).json()["results"]] == ["job-0"]

    def test_costs_the_same_for_one_job_and_for_many(self, api, submit, project, django_assert_num_queries):
        from django.db import connection
        from django.test.utils import CaptureQueriesContext

        submit()
        api.get(url(project))  # content types are remembered from here on
        with CaptureQueriesContext(connection) as one:
            api.get(url(project))
        for n in range(5):
            submit(name=f"job-{n}")
        with django_assert_num_queries(len(one)):
            api.get(url(project))


class TestAddresses:
    def test_a_missing_slash_is_forgiven_even_to_a_post(self, api, submit):
        job = submit()

        answer = api.post(f"/api/v1/jobs/{job.uid}/stop")

        assert answer.status_code == 200
        assert fresh(job).status == JobStatus.STOPPED

    def test_nobody_is_asked_to_sign_in(self, submit, project):
        job = submit()

        for path in (url(project), f"/api/v1/jobs/{job.uid}/", "/api/v1/me/"):
            answer = APIClient().get(path)
            assert (answer.status_code, answer["WWW-Authenticate"]) == (401, "Bearer")
