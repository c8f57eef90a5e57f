"""The fragment of the pages and the API."""

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from rest_framework.test import APIClient

from apps.metrics.models import AttemptUsage, Source
from tests.factories import ProjectFactory

from .conftest import MIB, START, add_attempt, add_samples, after


@pytest.fixture
def measured(make_job):
    job = make_job("p0", "p1")
    job.attempts.update(finished_at=after(20))
    attempt = job.attempts.get()
    for pod in attempt.pods.all():
        add_samples(pod, (100, 16), (250, 32))
    AttemptUsage.objects.create(attempt=attempt, first_at=START, last_at=START)
    return job


def page(client, job, user):
    client.force_login(user)
    return client.get(f"/projects/{job.project.slug}/usage/jobs/{job.uid}/")


def told(client, job, user):
    return " ".join(page(client, job, user).content.decode().split())


class TestFragment:
    def test_shows_figures_and_a_row_for_each_pod(self, client, measured, viewer):
        text = told(client, measured, viewer)

        assert "Attempt 1, 4 measurements. Figures are of one pod, over all 2." in text
        assert "CPU over 1m 00s: 0.175 cores in the mean, 0.25 cores at most, 0.5 cores requested" in text
        assert "35 % of the request" in text
        assert text.count('class="usage-swatch"') == 2
        assert "limit 256 MiB" in text

    @pytest.mark.parametrize(
        ("status", "state", "words"),
        [
            ("queued", None, "Usage appears when the job runs."),
            ("running", None, "The first measurement comes within half a minute."),
            ("running", "ok", "The first measurement comes within half a minute."),
            ("running", "absent", "Usage appears once an operator installs metrics-server there."),
            ("running", "refused", "may not read pods of metrics.k8s.io"),
            ("running", "away", "does not answer"),
            ("succeeded", "ok", "It was not measured: pods are looked at every 15 seconds"),
        ],
    )
    def test_says_why_there_is_nothing(self, client, make_job, viewer, cluster_row, status, state, words):
        if state:
            Source.objects.create(cluster=cluster_row, state=state, asked_at=timezone.now())

        assert words in told(client, make_job("p0", status=status), viewer)

    def test_escapes_what_others_named(self, client, measured, viewer, cluster_row):
        Source.objects.create(cluster=cluster_row, state="absent", asked_at=timezone.now())
        type(cluster_row).objects.update(name="<b>hostile</b>")
        measured.attempts.get().pods.update(name="<script>alert(1)</script>")

        text = told(client, measured, viewer)

        assert "<b>hostile" not in text
        assert "<script>alert" not in text

    def test_is_the_projects_own(self, client, measured, viewer, outsider):
        assert page(client, measured, viewer).status_code == 200
        assert page(client, measured, outsider).status_code == 404
        measured.project = ProjectFactory()
        assert page(client, measured, viewer).status_code == 404

    def test_costs_the_same_queries_for_many_attempts_and_pods(
        self, client, measured, viewer, django_assert_num_queries
    ):
        page(client, measured, viewer)
        with CaptureQueriesContext(connection) as one:
            page(client, measured, viewer)
        for number in range(2, 5):
            attempt = add_attempt(measured, *(f"{number}-{n}" for n in range(6)), number=number)
            for pod in attempt.pods.all():
                add_samples(pod, *[(1, 1)] * 40)
            AttemptUsage.objects.create(attempt=attempt, first_at=START, last_at=START)

        with django_assert_num_queries(len(one)):
            page(client, measured, viewer)


class TestApi:
    def ask(self, job, user, **query):
        client = APIClient()
        client.force_login(user)
        return client.get(f"/api/v1/projects/{job.project.slug}/jobs/{job.uid}/usage/", query)

    def test_answers_amounts_in_millicores_and_bytes(self, measured, viewer):
        answer = self.ask(measured, viewer).json()

        points = [
            {"at": "2026-11-24T02:00:00Z", "cpu_millicores": 100, "memory_bytes": 16 * MIB},
            {"at": "2026-11-24T02:00:15Z", "cpu_millicores": 250, "memory_bytes": 32 * MIB},
        ]
        assert answer == {
            "measuring": None,
            "attempt": 1,
            "cpu_millicores": {"request": 500, "limit": 1000},
            "memory_bytes": {"request": 64 * MIB, "limit": 256 * MIB},
            "figures": {
                "first_at": "2026-11-24T02:00:00Z",
                "last_at": "2026-11-24T02:00:15Z",
                "sample_count": 4,
                "pod_count": 2,
                "cpu_millicores": {"mean": 175, "p95": 250, "max": 250},
                "memory_bytes": {"mean": 24 * MIB, "p95": 32 * MIB, "max": 32 * MIB},
            },
            "step_seconds": 1,
            "series": [{"kind": "pod", "pod": f"p{n}", "rank": n, "points": points} for n in range(2)],
            "samples_removed_at": None,
        }

    def test_names_an_attempt(self, measured, viewer):
        assert self.ask(measured, viewer, attempt=1).json()["attempt"] == 1
        assert self.ask(measured, viewer, attempt=2).status_code == 404
        assert [self.ask(measured, viewer, **bad).status_code for bad in ({"attempt": "x"}, {"since": "1"})] == [
            400
        ] * 2

    def test_is_for_those_who_may_view_the_job(self, measured, viewer, outsider):
        assert self.ask(measured, viewer).status_code == 200
        assert self.ask(measured, outsider).status_code == 404
        measured.project = ProjectFactory()
        assert self.ask(measured, viewer).status_code == 404


async def test_the_jobs_socket_says_that_there_is_something_new():
    from apps.jobs.consumers import JobConsumer, TerminalConsumer

    sent = []
    page, terminal = JobConsumer(), TerminalConsumer()

    async def send(message):
        sent.append(message)

    page.send_json = terminal.send_json = send
    await page.dispatch({"type": "job.usage_sampled", "uid": "u"})
    await terminal.dispatch({"type": "job.usage_sampled", "uid": "u"})

    assert sent == [{"type": "job.usage_sampled", "uid": "u"}]
