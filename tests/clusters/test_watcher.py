import threading
import time

import pytest
from django.db import OperationalError

from apps.clusters import leases, watcher
from apps.clusters.events import WorkloadObserved
from apps.clusters.gateway import ObjectRef, Unavailable, VersionExpired, connect
from apps.clusters.models import Cluster, Lease
from apps.clusters.watcher import KindWatch, Watcher, back_off
from apps.core import events
from tests.factories import ClusterFactory

LABELS = {"app.kubernetes.io/managed-by": "cube", "cube.io/kind": "job", "cube.io/uid": "u-1"}


def pod(name, **labels):
    meta = {"name": name, "namespace": "default", "labels": {**LABELS, **labels}}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": {"nodeName": "n", "containers": []}}


def ref(name):
    return ObjectRef("v1", "Pod", name, "default")


@pytest.fixture
def seen(monkeypatch):
    """What is announced: (name, deleted, phase)."""
    found = []

    def remember(event):
        found.append((event.name, event.deleted, event.manifest["status"].get("phase")))

    monkeypatch.setitem(events._handlers, WorkloadObserved, [remember])
    return found


@pytest.fixture
def run(cluster_row, django_capture_on_commit_callbacks, monkeypatch):
    """Let a watch of pods go round `rounds` times, with things happening in between."""
    monkeypatch.setattr(watcher, "close_old_connections", lambda: None)  # It would end the test's own transaction.

    def go(rounds, between=lambda round_: None, may_run=lambda: True):
        pauses = []
        watch = KindWatch(
            cluster_id=cluster_row.pk,
            slug="default",
            api_version="v1",
            kind="Pod",
            may_run=may_run,
            pause=pauses.append,
        )
        for number in range(rounds):
            with django_capture_on_commit_callbacks(execute=True):
                watch._round()
            between(number)
        watch.pauses = pauses
        return watch

    return go


class TestKindWatch:
    def test_lists_then_watches_from_there(self, cluster, seen, run):
        cluster.create(pod("old"))
        cluster.create({**pod("foreign"), "metadata": {"name": "foreign", "namespace": "default"}})

        def between(number):
            if number == 0:
                cluster.create(pod("new"))
                cluster.set_status(ref("old"), {"phase": "Running"})
                cluster.remove(ref("new"))

        run(2, between)

        assert seen == [
            ("old", False, "Pending"),
            ("new", False, "Pending"),
            ("old", False, "Running"),
            ("new", True, "Pending"),
        ]

    def test_announces_the_labels_and_the_whole_object(self, cluster, cluster_row, run, monkeypatch):
        found = []
        monkeypatch.setitem(events._handlers, WorkloadObserved, [found.append])
        made = cluster.create(pod("a"))

        run(1)

        assert found == [WorkloadObserved(cluster_row.pk, "Pod", "default", "a", "job", "u-1", False, made)]

    def test_an_object_that_names_no_workload_is_passed_over(self, cluster, seen, run):
        cluster.create(pod("nameless", **{"cube.io/uid": ""}))

        run(1)

        assert seen == []

    def test_resumes_after_a_break_without_telling_twice(self, cluster, seen, run):
        cluster.create(pod("a"))

        def between(number):
            if number == 0:
                cluster.create(pod("b"))
                cluster.fail_next(Unavailable("connection reset"))

        watch = run(3, between)

        assert [name for name, *_ in seen] == ["a", "b"]
        assert watch.failures == 0

    def test_lists_again_on_410_and_tells_of_what_went_meanwhile(self, cluster, seen, run):
        cluster.create(pod("stays"))
        cluster.create(pod("goes"))

        def between(number):
            if number == 0:
                cluster.remove(ref("goes"))
                cluster.forget_history()

        run(3, between)

        assert seen == [
            ("goes", False, "Pending"),
            ("stays", False, "Pending"),
            ("goes", True, "Pending"),
            ("stays", False, "Pending"),
        ]

    def test_an_expired_list_is_no_failure(self, cluster, run):
        cluster.fail_next(VersionExpired("too old", status=410))

        watch = run(1)

        assert watch.failures == 0
        assert watch.pauses == []

    def test_backs_off_while_unreachable_and_starts_afresh_after(self, cluster, seen, run, monkeypatch):
        monkeypatch.setattr("random.uniform", lambda low, high: high)
        cluster.go_down(Unavailable("no route"))

        def between(number):
            if number == 6:
                cluster.come_back()
                cluster.create(pod("a"))

        watch = run(8, between)

        assert watch.pauses[:7] == [1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]
        assert watch.failures == 0
        assert [name for name, *_ in seen] == ["a"]

    def test_a_handler_that_fails_does_not_end_it(self, cluster, run, monkeypatch):
        found = []

        def fail(event):
            found.append(event.name)
            raise ZeroDivisionError

        monkeypatch.setitem(events._handlers, WorkloadObserved, [fail])
        cluster.create(pod("a"))

        watch = run(2, lambda number: cluster.create(pod(f"b{number}")))

        assert found == ["a", "b0"]
        assert watch.failures == 0

    def test_a_bug_does_not_end_it(self, cluster, seen, run):
        cluster.create(pod("a"))
        cluster.fail_next(KeyError("metadata"))

        run(2)

        assert [name for name, *_ in seen] == ["a"]

    def test_is_silent_once_the_lease_is_over(self, cluster, seen, run):
        cluster.create(pod("a"))

        run(1, may_run=lambda: False)

        assert seen == []

    def test_another_kubeconfig_means_another_list(self, cluster, cluster_row, seen, run):
        cluster.create(pod("a"))

        def between(number):
            Cluster.objects.update(kubeconfig="elsewhere")
            elsewhere = connect(Cluster.objects.get())
            if not elsewhere.objects:
                elsewhere.create(pod("b"))

        run(2, between)

        assert seen == [("a", False, "Pending"), ("a", True, "Pending"), ("b", False, "Pending")]


class TestBackOff:
    def test_doubles_to_thirty_with_jitter(self):
        assert all(0.5 <= back_off(1) <= 1 for _ in range(50))
        assert all(15 <= back_off(1000) <= 30 for _ in range(50))


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(watcher, "TICK_SECONDS", 0.02)
    monkeypatch.setattr(watcher, "RENEW_SECONDS", 0.05)
    monkeypatch.setattr(watcher, "QUICK_SECONDS", 0.02)


def eventually(holds, seconds=5.0):
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it never came to that"
        time.sleep(0.01)


def patiently(write):
    """SQLite in memory refuses a write while another thread reads the same table, and does not wait."""

    def done():
        try:
            return (write(),)
        except OperationalError:
            return None

    found = []
    eventually(lambda: found or found.extend(done() or ()) or found)
    return found[0]


@pytest.mark.django_db(transaction=True)
class TestWatcher:
    """Threads and leases as in the process; the tests tick by hand."""

    @pytest.fixture
    def supervisor(self, quick):
        made = Watcher(stop=threading.Event(), holder="me")
        yield made
        made._say_farewell()

    def test_watches_every_enabled_cluster(self, supervisor, cluster_row, cluster, seen):
        cluster.create(pod("a"))
        ClusterFactory(slug="off", is_enabled=False)

        supervisor.tick()

        eventually(lambda: seen)
        assert [*supervisor.running] == [cluster_row.pk]
        assert list(Lease.objects.values_list("purpose", "holder")) == [("watch", "me")]

    def test_an_unreachable_cluster_disturbs_no_other(self, supervisor, cluster_row, cluster, seen):
        connect(ClusterFactory(slug="down", kubeconfig="down")).go_down(Unavailable("no route"))
        cluster.create(pod("a"))

        supervisor.tick()

        eventually(lambda: seen == [("a", False, "Pending")])
        assert len(supervisor.running) == 2

    def test_leaves_a_cluster_that_somebody_else_watches(self, supervisor, cluster_row, cluster, seen):
        leases.acquire(cluster_row, "watch", "other", 60)
        cluster.create(pod("a"))

        supervisor.tick()

        assert supervisor.running == {}
        assert seen == []

    def test_takes_over_when_the_other_one_dies(self, supervisor, cluster_row, cluster, seen):
        leases.acquire(cluster_row, "watch", "other", 0.05)
        cluster.create(pod("a"))
        supervisor.tick()

        eventually(lambda: (supervisor.tick(), supervisor.running)[1])

        eventually(lambda: seen)
        assert Lease.objects.get().holder == "me"

    def test_stops_when_the_lease_is_lost(self, supervisor, cluster_row, cluster):
        supervisor.tick()
        watch = supervisor.running[cluster_row.pk]
        Lease.objects.update(holder="other")

        eventually(lambda: (supervisor.tick(), not supervisor.running)[1])

        assert not watch.may_run()
        eventually(lambda: not any(thread.is_alive() for thread in watch._threads))
        assert Lease.objects.get().holder == "other"

    def test_picks_up_what_appears_and_lets_go_of_what_is_disabled(self, supervisor, cluster_row, cluster):
        supervisor.tick()
        late = patiently(lambda: ClusterFactory(slug="late"))
        supervisor.tick()
        assert set(supervisor.running) == {cluster_row.pk, late.pk}

        patiently(lambda: Cluster.objects.filter(slug="late").update(is_enabled=False))
        supervisor.tick()

        assert set(supervisor.running) == {cluster_row.pk}
        assert Lease.objects.count() == 1

    def test_watches_only_the_cluster_it_was_told_to(self, quick, cluster_row, cluster):
        late = ClusterFactory(slug="late")
        supervisor = Watcher(stop=threading.Event(), only="late")

        supervisor.tick()

        assert set(supervisor.running) == {late.pk}
        supervisor._say_farewell()

    def test_ends_within_two_seconds_and_gives_up_its_leases(self, quick, cluster_row, cluster):
        stop = threading.Event()
        supervisor = Watcher(stop=stop)
        threading.Timer(0.2, stop.set).start()
        started = time.monotonic()

        supervisor.run()

        assert time.monotonic() - started < 2.2
        assert not Lease.objects.exists()
