"""From pods to rows and files: who is followed, who is refused, what a new collector does with what it finds."""

import asyncio
import time
import uuid

import pytest
from channels.db import database_sync_to_async
from django.db import OperationalError

from apps.clusters import labels, leases
from apps.clusters.gateway import WatchEvent
from apps.clusters.models import Lease
from apps.logs import collector, following, hot, journal, pods, warden
from apps.logs.collector import Collector
from apps.logs.lines import GAP, gap_of
from apps.logs.models import CollectorReport, LogStream
from apps.logs.pods import container_states
from apps.logs.warden import Warden
from apps.quotas.selectors import namespace_name

from .conftest import lines_of, stamp
from .kubelet import Kubelet, Nobody

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _hurry(monkeypatch):
    for name, value in {"SOON_SECONDS": 0.005, "DOUBT_SECONDS": 0.02}.items():
        monkeypatch.setattr(following, name, value)
    monkeypatch.setattr(following, "LONGEST_BACK_OFF", 0.02)
    monkeypatch.setattr(collector, "TICK_SECONDS", 0.02)
    # Joining has its own tests; beside it a reader would meet table locks that only SQLite's shared memory has.
    monkeypatch.setattr(collector, "JOIN_SECONDS", 60)
    monkeypatch.setattr(journal, "COMMIT_SECONDS", 0.02)
    monkeypatch.setattr(collector, "SETTLE_SECONDS", 0.05)


@pytest.fixture
def namespace(job):
    return namespace_name(job.project)


@pytest.fixture
def pod(job, namespace):
    def make(name="train-0", *, states, rank=None, uid=None, init=(), **meta):
        return {
            "metadata": {
                "name": name,
                "namespace": namespace,
                "uid": str(uid or uuid.uuid5(uuid.NAMESPACE_DNS, name)),
                "labels": {**labels.MANAGED, labels.KIND: "job", labels.UID: str(job.uid), labels.ATTEMPT: "2"},
                "annotations": {} if rank is None else {pods.INDEX: str(rank)},
                **meta,
            },
            "status": {
                "initContainerStatuses": [status(*each) for each in init],
                "containerStatuses": [status(*each) for each in states],
            },
        }

    return make


def status(name, state, restart=0, last=None):
    return {"name": name, "restartCount": restart, "state": {state: {}}, "lastState": {last: {}} if last else {}}


def line(second, text):
    return stamp(second) + b" " + text + b"\n"


async def rows():
    return await database_sync_to_async(lambda: list(LogStream.objects.order_by("pod_name", "container", "restart")))()


async def until(condition, seconds=20):
    async with asyncio.timeout(seconds):
        while not await condition():
            await asyncio.sleep(0.01)


async def all_complete(number):
    found = await rows()
    return len(found) == number and all(row.is_complete for row in found)


class Running:
    def __init__(self, cluster, kubelet):
        self.publisher = Nobody()
        self.collector = Collector(cluster, kubelet, self.publisher)
        self.task = asyncio.create_task(self.collector.run())

    async def __aenter__(self):
        return self

    async def __aexit__(self, *_):
        died = self.task.done() and self.task.exception()
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)
        if died:
            raise died


def texts(row):
    return [gap_of(each.text).text.encode() if each.kind == GAP else each.text for each in lines_of(row)]


async def all_texts():
    return await database_sync_to_async(
        lambda: [texts(row) for row in LogStream.objects.order_by("pod_name", "container", "restart")]
    )()


class TestCollector:
    async def test_follows_every_container_of_every_pod_to_its_end(self, job, cluster_row, pod):
        kubelet = Kubelet()
        for name in ("train-0", "train-1"):
            kubelet.files[name, "setup"] = [line(0, b"preparing")]
            kubelet.files[name, "main"] = [line(1, b"hello from " + name.encode())]
        async with Running(cluster_row, kubelet) as running:
            for rank, name in enumerate(("train-0", "train-1")):
                waiting = pod(name, rank=rank, init=[("setup", "terminated")], states=[("main", "waiting")])
                kubelet.events.put_nowait(WatchEvent("ADDED", waiting))
                running_ = pod(name, rank=rank, init=[("setup", "terminated")], states=[("main", "running")])
                kubelet.events.put_nowait(WatchEvent("MODIFIED", running_))
            await until(lambda: _has(4))
            for rank, name in enumerate(("train-0", "train-1")):
                kubelet.dead.add((name, "main"))
                dead = pod(name, rank=rank, init=[("setup", "terminated")], states=[("main", "terminated")])
                kubelet.events.put_nowait(WatchEvent("MODIFIED", dead))

            await until(lambda: all_complete(4))

        found = await rows()
        assert [(row.pod_name, row.container, row.rank, row.attempt_number, row.restart) for row in found] == [
            ("train-0", "main", 0, 2, 0),
            ("train-0", "setup", 0, 2, 0),
            ("train-1", "main", 1, 2, 0),
            ("train-1", "setup", 1, 2, 0),
        ]
        assert await all_texts() == [
            [b"hello from train-0"],
            [b"preparing"],
            [b"hello from train-1"],
            [b"preparing"],
        ]
        assert {row.line_count for row in found} == {1}
        assert [row.byte_count for row in found] == [31 + len(b"hello from train-0") + 1, 41, 50, 41]
        assert (found[0].first_time, found[0].last_time) == (stamp(1).decode(), stamp(1).decode())
        assert not [p for p in running.publisher.sent if next(hot.decode(p)).stream not in {row.pk for row in found}]

    async def test_tells_operators_how_it_goes(self, job, cluster_row, pod, monkeypatch):
        monkeypatch.setattr(collector, "REPORT_SECONDS", 0.05)
        kubelet = Kubelet()
        kubelet.files["train-0", "main"] = [line(1, b"one"), line(2, b"two")]
        async with Running(cluster_row, kubelet):
            kubelet.events.put_nowait(WatchEvent("ADDED", pod(states=[("main", "running")])))

            await until(lambda: database_sync_to_async(CollectorReport.objects.filter(lines=2, following=1).exists)())

        report = await CollectorReport.objects.aget()
        assert (report.cluster_id, report.problem, report.waiting) == (cluster_row.pk, "", 0)

    async def test_a_restart_is_a_stream_of_its_own(self, job, cluster_row, pod):
        kubelet = Kubelet()
        kubelet.files["train-0", "main"] = [line(1, b"first")]
        async with Running(cluster_row, kubelet):
            kubelet.events.put_nowait(WatchEvent("ADDED", pod(states=[("main", "running")])))
            await until(lambda: _has(1))
            kubelet.previous["train-0", "main"] = [line(1, b"first"), line(2, b"crash")]
            kubelet.files["train-0", "main"] = [line(3, b"second")]
            kubelet.events.put_nowait(WatchEvent("MODIFIED", pod(states=[("main", "running", 1, "terminated")])))
            await until(lambda: _has(2))
            kubelet.dead.add(("train-0", "main"))
            kubelet.events.put_nowait(WatchEvent("MODIFIED", pod(states=[("main", "terminated", 1, "terminated")])))

            await until(lambda: all_complete(2))

        assert [row.restart for row in await rows()] == [0, 1]
        assert await all_texts() == [[b"first", b"crash"], [b"second"]]

    async def test_a_pod_in_a_foreign_namespace_or_of_a_foreign_job_is_not_believed(self, job, cluster_row, pod):
        kubelet = Kubelet()
        kubelet.files["train-0", "main"] = [line(1, b"forged")]
        forged = pod(states=[("main", "terminated")])
        forged["metadata"]["namespace"] = "kube-system"
        unknown = pod("other", states=[("main", "terminated")])
        unknown["metadata"]["labels"][labels.UID] = str(uuid.uuid4())
        strange = pod("strange", states=[("main", "terminated")], uid="../../x")
        garbage = pod("garbage", states=[("main", "terminated")])
        garbage["metadata"]["labels"][labels.UID] = "not-a-uid"
        async with Running(cluster_row, kubelet):
            for each in (forged, unknown, strange, garbage):
                kubelet.events.put_nowait(WatchEvent("ADDED", each))
            await asyncio.sleep(0.2)

        assert await rows() == []
        assert kubelet.requests == []

    async def test_a_new_collector_closes_what_the_old_one_left_open(self, job, cluster_row, make_stream):
        await database_sync_to_async(make_stream)([(1, b"one"), (2, b"two")])
        kubelet = Kubelet()

        async with Running(cluster_row, kubelet) as running:
            await until(lambda: all_complete(1))

        assert running.collector._done == set()
        assert await all_texts() == [[b"one", b"two", b"The pod was deleted before the end of its log was collected."]]

    async def test_a_collector_that_starts_again_goes_on_where_the_file_ends(self, job, cluster_row, pod):
        kubelet = Kubelet()
        lines = [line(i // 5, b"%d" % i) for i in range(40)]
        kubelet.files["train-0", "main"] = []
        for upto in (10, 23, 40):
            async with Running(cluster_row, kubelet):
                kubelet.events.put_nowait(WatchEvent("ADDED", pod(states=[("main", "running")])))
                kubelet.files["train-0", "main"] += lines[len(kubelet.files["train-0", "main"]) : upto]
                await until(lambda number=upto: _has_stored(number))

        (row,) = await rows()
        assert await all_texts() == [[b"%d" % i for i in range(40)]]
        assert (row.line_count, row.epoch) == (40, 3)

    async def test_the_watch_and_the_look_for_orphans_never_follow_one_container_twice(
        self, job, cluster_row, pod, monkeypatch
    ):
        """The second one comes while the first waits for the database."""
        kubelet, opened, open_stream = Kubelet(), [], collector.services.open_stream

        def slow(**given):
            opened.append(given)
            time.sleep(0.1)
            return open_stream(**given)

        monkeypatch.setattr(collector.services, "open_stream", slow)
        monkeypatch.setattr(collector, "SETTLE_SECONDS", 60)
        kubelet.files["train-0", "main"] = [line(1, b"one")]
        kubelet.dead.add(("train-0", "main"))
        async with Running(cluster_row, kubelet) as running:
            kubelet.events.put_nowait(WatchEvent("ADDED", pod(states=[("main", "terminated")])))
            await until(lambda: _opened(opened))
            await running.collector._adopt()
            await until(lambda: all_complete(1))

        assert (len(opened), len(kubelet.requests)) == (1, 1)

    async def test_what_failed_is_tried_again_soon_and_holds_up_nobody(self, job, cluster_row, pod, monkeypatch):
        kubelet, failures, open_stream = Kubelet(), iter(range(2)), collector.services.open_stream

        def weak(**given):
            if given["run"].pod_name == "train-0" and next(failures, None) is not None:
                raise OperationalError("the database is away")
            return open_stream(**given)

        monkeypatch.setattr(collector.services, "open_stream", weak)
        monkeypatch.setattr(collector, "TROUBLE_SECONDS", 0.01)
        for name in ("strange", "train-0", "train-1"):
            kubelet.files[name, "main"] = [line(1, b"hello from " + name.encode())]
            kubelet.dead.add((name, "main"))
        async with Running(cluster_row, kubelet):
            kubelet.events.put_nowait(WatchEvent("ADDED", pod("strange", states=[("main", "terminated")], uid="../x")))
            for name in ("train-0", "train-1"):
                kubelet.events.put_nowait(WatchEvent("ADDED", pod(name, states=[("main", "terminated")])))

            await until(lambda: all_complete(2))

        assert await all_texts() == [[b"hello from train-0"], [b"hello from train-1"]]
        assert next(failures, None) is None

    async def test_a_pod_deleted_during_the_look_for_orphans_stays_deleted(self, job, cluster_row, pod, monkeypatch):
        kubelet = Kubelet()
        monkeypatch.setattr(collector, "SETTLE_SECONDS", 60)
        async with Running(cluster_row, kubelet) as running:
            one, seen = running.collector, pod(states=[("main", "waiting")])
            kubelet.events.put_nowait(WatchEvent("ADDED", seen))
            await until(lambda: _opened(one._pods))
            async with one._turn:
                kubelet.events.put_nowait(WatchEvent("DELETED", seen))
                await asyncio.sleep(0.01)  # The watch now waits for its turn, and the look for orphans behind it.
                look = asyncio.create_task(one._adopt())
                await asyncio.sleep(0.01)
            await look

            assert (one._pods, one._names) == ({}, {})


class TestOverTheGatewaysFake:
    async def test_collects_through_cuts_what_the_cluster_logged(self, cluster_row, cluster, pod, namespace):
        await database_sync_to_async(cluster.add)(
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}
        )
        manifest = {"apiVersion": "v1", "kind": "Pod", "spec": {"containers": [{"name": "main"}]}}
        manifest |= pod(states=[("main", "running")])
        del manifest["metadata"]["uid"]
        await database_sync_to_async(cluster.add)(manifest)
        ref = warden.gateway.ObjectRef("v1", "Pod", "train-0", namespace)
        async with Running(cluster_row, warden.gateway.open_streams(cluster_row)):
            for i in range(60):
                cluster.write_log(namespace, "train-0", "main", f"line {i}")
                if i % 10 == 9:
                    cluster.cut_follows()
                await asyncio.sleep(0.005)
            cluster.end_log(namespace, "train-0", "main")
            cluster.set_status(ref, {"phase": "Succeeded", **pod(states=[("main", "terminated")])["status"]})

            await until(lambda: all_complete(1))

        assert await all_texts() == [[b"line %d" % i for i in range(60)]]


async def _has_stored(number):
    return [len(each) for each in await all_texts()] == [number]


async def _has(number):
    found = await rows()
    return len(found) == number and all(row.line_count for row in found)


class TestContainerStates:
    @pytest.mark.parametrize(
        ("given", "restart", "is_dead", "has_previous"),
        [
            (status("main", "running"), 0, False, False),
            (status("main", "terminated"), 0, True, False),
            (status("main", "running", 2, "terminated"), 2, False, True),
            (status("main", "waiting", 2, "terminated"), 2, True, False),
        ],
    )
    def test_reads_the_instance_whose_log_the_node_serves(self, given, restart, is_dead, has_previous):
        (state,) = container_states({"status": {"containerStatuses": [given]}})

        assert (state.restart, state.is_dead, state.has_previous) == (restart, is_dead, has_previous)

    def test_a_container_that_never_started_has_no_log(self):
        assert not list(container_states({"status": {"containerStatuses": [status("main", "waiting")]}}))
        assert not list(container_states({}))


class TestWarden:
    async def test_only_the_holder_of_the_lease_collects(self, cluster_row, monkeypatch, hot_redis):
        opened = []

        class Silent(Kubelet):
            def __init__(self, cluster):
                super().__init__()
                opened.append(cluster.slug)

        monkeypatch.setattr(warden.gateway, "open_streams", Silent)
        await database_sync_to_async(leases.acquire)(cluster_row, warden.PURPOSE, "somebody", 60)
        asked, acquire = [], leases.acquire
        monkeypatch.setattr(leases, "acquire", lambda *given: asked.append(acquire(*given)) or asked[-1])
        task = asyncio.create_task(Warden(holder="me").run())
        await until(lambda: _opened(asked))
        await asyncio.sleep(0.05)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert (asked, opened) == ([False], [])
        await database_sync_to_async(leases.release)(cluster_row, warden.PURPOSE, "somebody")

        task = asyncio.create_task(Warden(holder="me").run())
        await until(lambda: _opened(opened))
        holder = await database_sync_to_async(lambda: Lease.objects.get().holder)()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

        assert holder == "me"
        assert not await database_sync_to_async(Lease.objects.exists)()

    async def test_a_disabled_cluster_is_collected_until_its_jobs_have_ended(
        self, cluster_row, job, monkeypatch, hot_redis
    ):
        opened = []

        class Silent(Kubelet):
            def __init__(self, cluster):
                super().__init__()
                opened.append(cluster.slug)

        def disable():
            cluster_row.is_enabled = False
            cluster_row.save()

        monkeypatch.setattr(warden.gateway, "open_streams", Silent)
        await database_sync_to_async(disable)()

        task = asyncio.create_task(Warden(holder="me").run())
        await until(lambda: _opened(opened))
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

        assert opened == [cluster_row.slug]


async def _opened(opened):
    return bool(opened)
