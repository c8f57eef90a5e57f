from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from apps.clusters.gateway import Forbidden, Unavailable
from apps.clusters.models import Cluster
from apps.jobs.models import Attempt, Job, Pod
from apps.metrics import services, tasks
from apps.metrics.models import AttemptUsage, PodSample, Source

from .conftest import MIB, START, add_attempt, add_samples, after, manifest


def sample(cluster_row):
    return services.sample_cluster(cluster_id=cluster_row.pk)


def kept():
    return list(
        PodSample.objects.order_by("pod__name", "at").values_list("pod__name", "cpu_millicores", "memory_bytes")
    )


class TestSampleCluster:
    def test_keeps_a_sample_of_each_running_pod(self, cluster, cluster_row, make_job):
        job = make_job("p0", "p1")
        cluster.measure(manifest(job, "p0"), cpu="156340245n", memory="21636Ki", at="2026-11-24T02:00:15Z")
        cluster.measure(manifest(job, "p1"), cpu="1", memory="64Mi", at="2026-11-24T02:00:16Z")

        assert sample(cluster_row) == 2

        assert kept() == [("p0", 156, 22_155_264), ("p1", 1000, 64 * MIB)]
        assert list(PodSample.objects.order_by("at").values_list("at", flat=True)) == [after(15), after(16)]
        assert Source.objects.get().state == "ok"

    def test_what_is_told_twice_is_one_row(self, cluster, cluster_row, make_job):
        job = make_job("p0")
        for _ in range(2):
            cluster.measure(manifest(job, "p0"), cpu="100m", memory="1Mi", at="2026-11-24T02:00:15Z")
            sample(cluster_row)
        cluster.measure(manifest(job, "p0"), cpu="200m", memory="2Mi", at="2026-11-24T02:00:30Z")
        sample(cluster_row)

        assert kept() == [("p0", 100, MIB), ("p0", 200, 2 * MIB)]
        assert AttemptUsage.objects.count() == 1

    def test_leaves_out_what_is_not_a_running_pod_of_ours(self, cluster, cluster_row, make_job):
        """Another namespace's pod with our labels, another attempt, a pod nobody saw, one that ended."""
        job = make_job("p0", "ended")
        Pod.objects.filter(name="ended").update(finished_at=START)
        forged = manifest(job, "p0", namespace="cube-another")
        for pod in (forged, manifest(job, "p0", number=2), manifest(job, "unseen"), manifest(job, "ended")):
            cluster.measure(pod, cpu="1", memory="1Mi")

        assert sample(cluster_row) == 0

        assert kept() == []
        assert not AttemptUsage.objects.exists()

    def test_asks_nothing_where_nothing_runs(self, cluster, cluster_row, make_job):
        make_job("p0", status="succeeded")
        cluster.go_down(AssertionError("asked"))

        assert sample(cluster_row) == 0
        assert not Source.objects.exists()

    def test_a_cluster_without_a_metrics_api_is_not_asked_again_and_again(self, cluster, cluster_row, make_job):
        make_job("p0")
        Cluster.objects.update(capabilities=["v1"])
        cluster.go_down(AssertionError("asked"))

        assert sample(cluster_row) == 0
        assert Source.objects.get().state == "absent"

    @pytest.mark.parametrize(
        ("failure", "state", "message"),
        [
            (None, "absent", ""),
            (Forbidden("pods.metrics.k8s.io is forbidden", status=403), "refused", "pods.metrics.k8s.io is forbidden"),
            (Unavailable("the server is currently unable", status=503), "away", "the server is currently unable"),
        ],
    )
    def test_says_why_nothing_comes_and_goes_on_when_it_does(
        self, cluster, cluster_row, make_job, failure, state, message
    ):
        job = make_job("p0")
        if failure:
            cluster.go_down(failure)

        assert sample(cluster_row) == 0
        assert (Source.objects.get().state, Source.objects.get().message) == (state, message)

        cluster.come_back()
        cluster.measure(manifest(job, "p0"), cpu="1", memory="1Mi")
        assert sample(cluster_row) == 1
        assert (Source.objects.get().state, Source.objects.get().message) == ("ok", "")

    def test_costs_the_same_queries_for_one_pod_and_for_many(self, cluster, cluster_row, make_job):
        first = make_job("p0")
        cluster.measure(manifest(first, "p0"), cpu="1", memory="1Mi", at="2026-11-24T02:00:15Z")
        sample(cluster_row)  # The source has its row from here on.
        cluster.measure(manifest(first, "p0"), cpu="1", memory="1Mi", at="2026-11-24T02:00:30Z")
        Source.objects.update(state="away")
        AttemptUsage.objects.all().delete()
        with CaptureQueriesContext(connection) as one:
            sample(cluster_row)
        for n in range(20):
            pods = [f"{n}-a", f"{n}-b"]
            job = make_job(*pods, name=f"job-{n}")
            for pod in pods:
                cluster.measure(manifest(job, pod), cpu="1", memory="1Mi")

        with CaptureQueriesContext(connection) as many:
            assert sample(cluster_row) == 41

        assert len(many) == len(one)

    def test_tells_each_jobs_page_once(
        self, cluster, cluster_row, make_job, monkeypatch, django_capture_on_commit_callbacks
    ):
        told = []
        monkeypatch.setattr("apps.metrics.handlers.push", lambda group, message: told.append((group, message["type"])))
        job = make_job("p0", "p1")
        for pod in ("p0", "p1"):
            cluster.measure(manifest(job, pod), cpu="1", memory="1Mi")

        with django_capture_on_commit_callbacks(execute=True):
            sample(cluster_row)

        assert told == [(f"job.{job.pk}", "job.usage_sampled")]

    def test_the_tick_asks_every_cluster_in_use(self, cluster, cluster_row, make_job):
        job = make_job("p0")
        cluster.measure(manifest(job, "p0"), cpu="1", memory="1Mi")
        Cluster.objects.update(is_enabled=False)

        tasks.sample_clusters()

        assert kept() == [("p0", 1000, MIB)]


def end(attempt, *, ago=timedelta(minutes=1), status="succeeded"):
    Attempt.objects.filter(pk=attempt.pk).update(finished_at=timezone.now() - ago, status=status)
    Job.objects.filter(pk=attempt.job_id).update(status=status)


def open_usage(attempt):
    return AttemptUsage.objects.create(attempt=attempt, first_at=START, last_at=START)


class TestCloseEnded:
    def test_writes_figures_by_nearest_rank_over_all_pods(self, make_job):
        attempt = make_job("p0", "p1").attempts.get()
        first, second = attempt.pods.all()
        add_samples(first, *[(n, n) for n in range(1, 13)])  # 1 to 12
        add_samples(second, *[(n, 100 - n) for n in range(13, 22)])  # 13 to 21, and 79 to 87 MiB
        open_usage(attempt)
        end(attempt)

        assert services.close_ended() == 1

        usage = AttemptUsage.objects.get()
        cpu = (usage.cpu_millicores_mean, usage.cpu_millicores_p95, usage.cpu_millicores_max)
        memory = (usage.memory_bytes_mean, usage.memory_bytes_p95 // MIB, usage.memory_bytes_max // MIB)
        assert cpu == (11, 20, 21)  # the 20th of 21
        assert memory == (round((78 + 747) * MIB / 21), 86, 87)
        assert (usage.sample_count, usage.pod_count) == (21, 2)
        assert (usage.first_at, usage.last_at) == (after(0), after(165))
        assert usage.closed_at is not None

    def test_waits_for_a_look_that_began_before_the_end(self, make_job):
        running, just_ended = make_job("p0").attempts.get(), make_job("p1", name="other").attempts.get()
        for attempt in (running, just_ended):
            add_samples(attempt.pods.get(), (1, 1))
            open_usage(attempt)
        end(just_ended, ago=timedelta(seconds=10))

        assert services.close_ended() == 0
        assert AttemptUsage.objects.filter(closed_at=None).count() == 2

    def test_a_failed_attempt_of_a_job_that_goes_on_is_over_as_well(self, make_job):
        job = make_job("p0")
        attempt = job.attempts.get()
        add_samples(attempt.pods.get(), (7, 7))
        open_usage(attempt)
        Attempt.objects.filter(pk=attempt.pk).update(finished_at=START, status="failed")
        again = add_attempt(job, "p1", number=2)
        add_samples(again.pods.get(), (9, 9))
        open_usage(again)

        assert services.close_ended() == 1
        assert services.close_ended() == 0

        assert AttemptUsage.objects.get(attempt=attempt).cpu_millicores_max == 7
        assert AttemptUsage.objects.get(attempt=again).closed_at is None

    def test_costs_the_same_queries_for_one_and_for_many(self, make_job, django_assert_num_queries):
        def ended(n):
            attempt = make_job("p0", name=f"job-{n}").attempts.get()
            add_samples(attempt.pods.get(), (n, n), (n + 2, n))
            open_usage(attempt)
            end(attempt)

        ended(0)
        with CaptureQueriesContext(connection) as one:
            services.close_ended()
        for n in range(1, 6):
            ended(n)

        with django_assert_num_queries(len(one)):
            assert services.close_ended() == 5

        assert list(AttemptUsage.objects.order_by("pk").values_list("cpu_millicores_mean", flat=True)) == [
            1, 2, 3, 4, 5, 6,
        ]  # fmt: skip


class TestRemoveExpired:
    def closed(self, make_job, name, *, days):
        attempt = make_job("p0", name=name).attempts.get()
        add_samples(attempt.pods.get(), (5, 5), (6, 6))
        usage = open_usage(attempt)
        end(attempt)
        services.close_ended()
        AttemptUsage.objects.filter(pk=usage.pk).update(closed_at=timezone.now() - timedelta(days=days))
        return usage

    def test_removes_samples_and_keeps_figures(self, make_job, settings):
        settings.CUBE_USAGE_RETENTION_DAYS = 7
        old, young = self.closed(make_job, "old", days=7.1), self.closed(make_job, "young", days=6.9)

        assert services.remove_expired() == 1
        assert services.remove_expired() == 0

        old.refresh_from_db()
        assert (old.cpu_millicores_max, old.sample_count) == (6, 2)
        assert old.samples_removed_at is not None
        assert set(PodSample.objects.values_list("pod__attempt", flat=True)) == {young.pk}

    def test_an_attempt_that_runs_keeps_all_of_its_samples(self, make_job, settings):
        settings.CUBE_USAGE_RETENTION_DAYS = 1
        attempt = make_job("p0").attempts.get()
        add_samples(attempt.pods.get(), (5, 5))
        open_usage(attempt)

        assert services.remove_expired() == 0
        assert PodSample.objects.count() == 1

    def test_zero_days_is_for_ever(self, make_job, settings):
        settings.CUBE_USAGE_RETENTION_DAYS = 0
        self.closed(make_job, "old", days=4000)

        assert services.remove_expired() == 0
        assert PodSample.objects.count() == 2


def test_a_deleted_job_takes_its_usage_along(make_job, member):
    from apps.jobs.services import delete_job

    attempt = make_job("p0").attempts.get()
    add_samples(attempt.pods.get(), (5, 5))
    open_usage(attempt)
    end(attempt)

    delete_job(job=Job.objects.get(), actor=member)

    assert not PodSample.objects.exists()
    assert not AttemptUsage.objects.exists()
