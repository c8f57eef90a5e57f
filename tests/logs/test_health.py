"""Collectors report; operators, Prometheus, the health check and the job page read it."""

from datetime import timedelta

import pytest
from django.utils import timezone

from apps.accounts.roles import PlatformRole
from apps.logs import health, services
from apps.logs.counters import Counters
from apps.logs.models import CollectorReport, LogGap, ShipReport
from tests.factories import ClusterFactory, UserFactory

COUNTERS = {
    "following": 7,
    "waiting": 2,
    "polling": 1,
    "requests": 40,
    "reconnects": 3,
    "gaps": 1,
    "lines": 1000,
    "bytes": 50_000,
    "pending_bytes": 10,
    "commits": 9,
    "lag_seconds": 0.25,
    "budget_used": 0.5,
    "problem": "",
}


def report(cluster, **changed):
    return services.record_report(cluster=cluster, holder="host-1", counters={**COUNTERS, **changed})


def age(found, seconds):
    CollectorReport.objects.filter(pk=found.pk).update(at=timezone.now() - timedelta(seconds=seconds))


class TestRecordReport:
    def test_takes_what_a_collector_counts(self, cluster_row):
        assert services.COUNTED | services.MEASURED | {"problem"} == set(vars(Counters()))
        row = services.record_report(cluster=cluster_row, holder="host-1", counters=vars(Counters(lines=5)))

        assert (row.lines, row.following, row.problem) == (5, 0, "")

    def test_keeps_one_row_a_cluster_with_every_counter(self, cluster_row):
        report(cluster_row, bytes=1)
        report(cluster_row)

        row = CollectorReport.objects.get()
        assert {name: getattr(row, name) for name in COUNTERS} == COUNTERS
        assert (row.cluster, row.holder) == (cluster_row, "host-1")

    def test_makes_rates_of_two_reports(self, cluster_row):
        age(report(cluster_row), 10)

        row = report(cluster_row, bytes=150_000, lines=3000)

        assert row.bytes_per_second == pytest.approx(10_000, rel=0.05)
        assert row.lines_per_second == pytest.approx(200, rel=0.05)

    def test_begins_anew_with_another_holder(self, cluster_row):
        age(report(cluster_row), 10)

        row = services.record_report(cluster=cluster_row.pk, holder="host-2", counters={"bytes": 900_000})

        assert (row.bytes_per_second, row.bytes, row.following, row.problem) == (0, 900_000, 0, "")

    def test_never_goes_below_zero_when_a_counter_began_anew(self, cluster_row):
        age(report(cluster_row), 10)

        assert report(cluster_row, bytes=5).bytes_per_second == 0


class TestStates:
    def test_tell_each_trouble_in_a_sentence(self, cluster_row):
        assert health.collection_of(cluster_row).sentence == "No log collector has reported for this cluster yet."
        report(cluster_row)
        assert (health.collection_of(cluster_row).state, health.collection_of(cluster_row).sentence) == ("ok", "")
        report(cluster_row, lag_seconds=90)
        assert health.collection_of(cluster_row).sentence == "Collecting is 90 seconds behind."
        found = report(cluster_row, problem="The log folder is full.")
        assert health.collection_of(cluster_row).sentence == "The log folder is full."
        age(found, 31)
        assert health.collection_of(cluster_row).sentence.startswith("The log collector has been silent since 20")
        assert health.worst_state() == "silent"

    def test_are_of_clusters_in_use_only(self, db, django_assert_num_queries):
        report(ClusterFactory())
        ClusterFactory(is_enabled=False)

        with django_assert_num_queries(2):
            assert [each.state for each in health.collections()] == ["ok"]


class TestOperatorsSee:
    def test_the_figures_and_troubles_in_the_console(self, client, cluster_row):
        client.force_login(UserFactory(platform_role=PlatformRole.AUDITOR))
        report(cluster_row, problem="The log folder is full.")
        ClusterFactory(name="Lonely")

        page = client.get("/admin/logs/collectorreport/").content.decode()

        assert "Log collection" in page
        for text in ("The log folder is full.", "0.2 s", "50%", "host-1", "Lonely: No log collector has reported"):
            assert text in page, text

    def test_gaps_in_the_console_with_the_way_to_their_line(self, client, make_stream, job):
        client.force_login(UserFactory(platform_role=PlatformRole.AUDITOR))
        stream = make_stream([(1, b"a")])
        gap = LogGap.objects.create(stream=stream, ordinal=7, cause="rotation", text="Lines are missing.", bytes=2048)

        for url in ("/admin/logs/loggap/", f"/admin/logs/loggap/{gap.pk}/change/"):
            page = client.get(url).content.decode()

            assert f'href="/projects/{job.project.slug}/jobs/{job.uid}/#L{stream.pk}-7"' in page
            assert "2.0\xa0KB" in page

    def test_the_figures_in_prometheus_format(self, client, cluster_row):
        report(cluster_row)

        text = client.get("/metrics").content.decode()

        assert f'cube_log_collector_up{{cluster="{cluster_row.slug}"}} 1.0' in text
        assert f'cube_log_collector_lines_total{{cluster="{cluster_row.slug}"}} 1000.0' in text
        assert f'cube_log_collector_lag_seconds{{cluster="{cluster_row.slug}"}} 0.25' in text
        assert "django_http_requests_total" in text

    def test_what_the_shipper_says_of_itself(self, client, cluster_row):
        ShipReport.objects.create(
            cluster=cluster_row, holder="a", at=timezone.now(), pending_lines=12, lag_seconds=3.5, sent_records=400
        )

        text = client.get("/metrics").content.decode()

        label = f'{{cluster="{cluster_row.slug}"}}'
        assert f"cube_log_shipper_pending_lines{label} 12.0" in text
        assert f"cube_log_shipper_lag_seconds{label} 3.5" in text
        assert f"cube_log_shipper_sent_records_total{label} 400.0" in text

    def test_a_full_disk_in_the_health_check_which_stays_ready(self, client, cluster_row):
        report(cluster_row, problem="No space left at /srv/logs")

        answer = client.get("/readyz")

        assert (answer.status_code, answer.json()["logs"]) == (200, "problem")
        assert "srv" not in answer.content.decode()


class TestTheJobPage:
    def ask(self, client, job):
        return client.get(f"/projects/{job.project.slug}/logs/jobs/{job.uid}/notices/")

    def test_says_when_the_collector_has_a_problem_but_not_which(self, client, viewer, job):
        client.force_login(viewer)
        report(job.cluster)
        assert self.ask(client, job).content.strip() == b""

        report(job.cluster, problem="No space left at /srv/logs")

        text = self.ask(client, job).content.decode()
        assert "The log may be late" in text
        assert "/srv" not in text

    def test_says_nothing_once_the_job_is_over(self, client, viewer, job):
        client.force_login(viewer)
        report(job.cluster, problem="No space left")
        job.status = "succeeded"
        job.save()

        assert self.ask(client, job).content.strip() == b""

    def test_is_hidden_from_outsiders(self, client, outsider, job):
        client.force_login(outsider)

        assert self.ask(client, job).status_code == 404
