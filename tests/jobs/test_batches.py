"""Many jobs launched together are launched as each would have been alone."""

from datetime import timedelta

import pytest
from django.utils import timezone

from apps.clusters.choices import Health
from apps.clusters.gateway import Invalid, Unavailable
from apps.jobs import batches, launching, selectors, services, tasks
from apps.jobs.models import Attempt, Job, JobEvent

pytestmark = pytest.mark.django_db


@pytest.fixture
def queued(submit):
    return [submit(name=f"train-{number}") for number in range(3)]


def statuses():
    return list(Job.objects.order_by("pk").values_list("status", flat=True))


class TestLaunchTogether:
    def test_each_job_becomes_one_object_and_says_so(self, queued, cluster):
        left = batches.launch_jobs(job_ids=[job.pk for job in queued])

        made = [ref for ref in cluster.objects if ref.kind == "Job"]
        assert (left, len(made), statuses()) == ([], 3, ["starting"] * 3)
        assert all(Attempt.objects.values_list("object_uid", flat=True))
        told = JobEvent.objects.filter(job=queued[0]).order_by("pk").values_list("text", flat=True)
        assert list(told)[1].startswith("Sent to cluster default.")

    def test_twice_is_once(self, queued, cluster):
        ids = [job.pk for job in queued]
        batches.launch_jobs(job_ids=ids)
        events = JobEvent.objects.count()

        assert batches.launch_jobs(job_ids=ids) == []

        assert JobEvent.objects.count() == events
        assert len([ref for ref in cluster.objects if ref.kind == "Job"]) == 3

    def test_an_object_that_is_there_is_adopted(self, queued, cluster):
        ids = [job.pk for job in queued]
        batches.launch_jobs(job_ids=ids)
        Job.objects.update(status="queued")

        batches.launch_jobs(job_ids=ids)

        assert statuses() == ["starting"] * 3
        assert len([ref for ref in cluster.objects if ref.kind == "Job"]) == 3

    def test_what_the_cluster_refuses_is_left_for_a_launch_of_its_own(self, queued, cluster):
        batches.launch_jobs(job_ids=[queued[0].pk])  # The namespace is there.
        cluster.fail_next(Invalid("no", status=422))

        left = batches.launch_jobs(job_ids=[job.pk for job in queued])

        assert len(left) == 1
        assert sorted(statuses()) == ["queued", "starting", "starting"]

    def test_a_cluster_that_is_away_leaves_all(self, queued, cluster):
        cluster.go_down(Unavailable("away"))

        left = batches.launch_jobs(job_ids=[job.pk for job in queued])

        assert sorted(left) == [job.pk for job in queued]
        assert statuses() == ["queued"] * 3

    def test_a_job_that_was_stopped_meanwhile_is_not_started(self, queued, cluster, member, monkeypatch):
        real = services.record_launched_together

        def stopped_meanwhile(*, launched):
            services.stop_job(job=queued[1], actor=member)
            return real(launched=launched)

        monkeypatch.setattr(services, "record_launched_together", stopped_meanwhile)
        left = batches.launch_jobs(job_ids=[job.pk for job in queued])

        assert left == [queued[1].pk]
        assert statuses() == ["starting", "stopped", "starting"]


def test_the_task_sends_what_is_left_one_by_one(queued, cluster, monkeypatch):
    sent = []
    monkeypatch.setattr(batches, "launch_jobs", lambda job_ids: [job_ids[1]])
    monkeypatch.setattr(tasks.launch_job, "delay", lambda **asked: sent.append(asked))

    tasks.launch_jobs(job_ids=[job.pk for job in queued])

    assert sent == [{"job_id": queued[1].pk}]


def age(seconds):
    Job.objects.update(updated_at=timezone.now() - timedelta(seconds=seconds))


def let_leases_pass(monkeypatch, span):
    """As if that much time had gone by for those that look at leases."""
    later = timezone.now() + span
    monkeypatch.setattr(selectors.timezone, "now", lambda: later)


def launched(cluster):
    return len([ref for ref in cluster.objects if ref.kind == "Job"])


class TestLaunchLost:
    def test_launches_what_a_dead_worker_had_taken_once_its_lease_is_over(self, queued, cluster, monkeypatch):
        services.take_for_launch(jobs=selectors.free_in_queue(), limit=10)
        age(3)

        tasks.launch_lost()
        assert (launched(cluster), statuses()) == (0, ["queued"] * 3)

        let_leases_pass(monkeypatch, services.LEASE + timedelta(seconds=0.1))
        tasks.launch_lost()
        assert (launched(cluster), statuses()) == (3, ["starting"] * 3)

    def test_launches_what_nobody_was_told_of(self, queued, cluster):
        age(3)

        tasks.launch_lost()

        assert statuses() == ["starting"] * 3

    def test_leaves_a_fresh_submission_to_its_own_message(self, queued, cluster):
        tasks.launch_lost()

        assert (launched(cluster), statuses()) == (0, ["queued"] * 3)

    def test_a_message_that_comes_after_all_launches_nothing_again(self, queued, cluster):
        age(3)
        services.take_for_launch(jobs=selectors.lost_in_queue(), limit=2)

        assert tasks.launch_jobs(job_ids=[job.pk for job in queued]) is None

        assert (launched(cluster), statuses()) == (1, ["queued", "queued", "starting"])

    def test_goes_on_while_there_is_more(self, queued, cluster, monkeypatch):
        monkeypatch.setattr(batches, "TOGETHER", 2)
        age(3)

        tasks.launch_lost()

        assert statuses() == ["starting"] * 3

    def test_costs_one_query_where_nothing_is_lost(self, queued, django_assert_num_queries):
        with django_assert_num_queries(1):
            tasks.launch_lost()

    def test_does_not_ask_for_a_cluster_that_is_away(self, queued, cluster, cluster_row):
        age(3)
        cluster_row.health = Health.UNREACHABLE
        cluster_row.save()

        tasks.launch_lost()

        assert list(Job.objects.values_list("taken_until", flat=True)) == [None] * 3

    def test_what_could_not_be_launched_is_left_alone_for_a_while(self, queued, cluster, monkeypatch):
        monkeypatch.setattr(tasks.launch_job, "delay", lambda **_: None)
        cluster.go_down(Unavailable("away"))
        age(3)
        tasks.launch_lost()

        let_leases_pass(monkeypatch, services.LEASE * 2)
        assert not selectors.lost_in_queue().exists()

        let_leases_pass(monkeypatch, batches.PATIENCE + timedelta(seconds=1))
        assert selectors.lost_in_queue().count() == 3

    def test_one_job_that_breaks_the_batch_does_not_hold_up_the_others(self, queued, cluster, monkeypatch):
        def broken(job, tenancy):
            raise ZeroDivisionError

        monkeypatch.setattr(batches, "_prepared", broken)
        age(3)

        tasks.launch_lost()

        assert statuses() == ["starting"] * 3

    def test_a_second_attempt_is_launched_as_such(self, submit, cluster, monkeypatch):
        job = submit()
        job.attempts.update(status="failed")
        services._add_attempt(job, number=2)
        age(3)

        tasks.launch_lost()

        (made,) = [ref for ref in cluster.objects if ref.kind == "Job"]
        assert made.name == job.attempts.get(number=2).object_name


class TestHolding:
    def test_a_launcher_that_lives_keeps_what_it_has(self, queued, cluster, monkeypatch):
        """The cluster is slow: the lease is renewed until it has answered."""
        held, real = [], services.hold_for_launch
        monkeypatch.setattr(services, "hold_for_launch", lambda **asked: (held.append(asked["job_ids"]), real(**asked)))
        rounds = iter([False, False, True])
        monkeypatch.setattr(batches, "wait", lambda answers, timeout: Waited(answers, next(rounds)))

        batches.launch_jobs(job_ids=[job.pk for job in queued])

        ids = [job.pk for job in queued]
        assert held == [ids, ids, []]

    def test_a_launch_of_one_holds_it_and_longer_when_the_cluster_is_away(self, submit, cluster, monkeypatch):
        job = submit()
        cluster.go_down(Unavailable("away"))

        with pytest.raises(Unavailable):
            launching.launch_job(job_id=job.pk)
        assert timezone.now() < Job.objects.get().taken_until < timezone.now() + services.LEASE

        with pytest.raises(Unavailable):
            tasks.launch_job.run(job_id=job.pk)
        assert Job.objects.get().taken_until > timezone.now() + services.LEASE


class Waited:
    """What `concurrent.futures.wait` answers."""

    def __init__(self, answers, is_done):
        self.not_done = () if is_done else answers
