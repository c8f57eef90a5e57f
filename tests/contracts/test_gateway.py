"""What every gateway promises, held against whatever answers behind it."""

import os
import threading
import time
import uuid
from datetime import UTC, datetime, timedelta

import pytest

from apps.clusters.gateway import (
    AlreadyExists,
    Invalid,
    NotFound,
    ObjectRef,
    VersionExpired,
)
from tests.contracts.conftest import restricted_pod, wait_for

pytestmark = pytest.mark.contract


def config_map(namespace, name=None, labels=None, **data):
    meta = {"name": name or f"c-{uuid.uuid4().hex[:8]}", "namespace": namespace}
    if labels:
        meta["labels"] = labels
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": data}


def pod(namespace, name):
    """A pod that waits for a node for ever: nothing here needs it to start."""
    manifest = restricted_pod(namespace, name)
    manifest["spec"]["nodeSelector"] = {"cube.io/no-such-node": "true"}
    return manifest


class TestServerInfo:
    def test_tells_the_version_and_what_is_served(self, gateway):
        info = gateway.server_info()

        assert info.version.startswith("v1.")
        assert {"v1", "batch/v1", "networking.k8s.io/v1", "rbac.authorization.k8s.io/v1"} <= set(info.group_versions)
        assert list(info.group_versions) == sorted(info.group_versions)


class TestCreate:
    def test_returns_the_object_as_stored(self, gateway, namespace):
        made = gateway.create(config_map(namespace, a="1"))

        assert made["data"] == {"a": "1"}
        assert len(made["metadata"]["uid"]) == 36
        assert made["metadata"]["resourceVersion"].isdigit()
        assert gateway.get(ObjectRef.of(made))["metadata"]["uid"] == made["metadata"]["uid"]

    def test_refuses_a_name_that_is_taken_and_keeps_what_is_there(self, gateway, namespace):
        made = gateway.create(config_map(namespace, a="1"))

        with pytest.raises(AlreadyExists) as refused:
            gateway.create(config_map(namespace, name=made["metadata"]["name"], a="2"))

        assert refused.value.status == 409
        assert made["metadata"]["name"] in str(refused.value)
        assert gateway.get(ObjectRef.of(made))["data"] == {"a": "1"}

    def test_a_dry_run_stores_nothing(self, gateway, namespace):
        manifest = config_map(namespace, a="1")

        answered = gateway.create(manifest, dry_run=True)

        assert answered["metadata"]["name"] == manifest["metadata"]["name"]
        with pytest.raises(NotFound):
            gateway.get(ObjectRef.of(manifest))

    def test_names_the_field_that_is_wrong(self, gateway, namespace):
        with pytest.raises(Invalid) as refused:
            gateway.create(config_map(namespace, name="Not A Name"))

        assert refused.value.status == 422
        assert refused.value.causes[0][0] == "metadata.name"

    def test_needs_the_namespace_to_exist(self, gateway):
        with pytest.raises(NotFound):
            gateway.create(config_map(f"absent-{uuid.uuid4().hex[:8]}"))

    def test_does_not_know_every_kind(self, gateway, namespace):
        meta = {"name": "w", "namespace": namespace}

        with pytest.raises(NotFound):
            gateway.create({"apiVersion": "example.org/v1", "kind": "Widget", "metadata": meta})
        with pytest.raises(NotFound):
            gateway.create({"apiVersion": "v1", "kind": "Widget", "metadata": meta})

    def test_a_secret_written_as_text_is_read_as_base64(self, gateway, namespace):
        meta = {"name": f"s-{uuid.uuid4().hex[:8]}", "namespace": namespace}

        made = gateway.create({"apiVersion": "v1", "kind": "Secret", "metadata": meta, "stringData": {"k": "v"}})

        assert made["data"] == {"k": "dg=="}
        assert "stringData" not in made


class TestApply:
    def test_makes_then_changes(self, gateway, namespace):
        first = gateway.apply(config_map(namespace, name="applied", a="1", b="1"))
        second = gateway.apply(config_map(namespace, name="applied", a="2"))

        assert second["metadata"]["uid"] == first["metadata"]["uid"]
        assert second["data"] == {"a": "2"}

    def test_applying_the_same_again_changes_nothing(self, gateway, namespace):
        first = gateway.apply(config_map(namespace, name="same", a="1"))
        second = gateway.apply(config_map(namespace, name="same", a="1"))

        assert second["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]

    def test_leaves_what_others_wrote_and_takes_over_what_it_names(self, gateway, namespace):
        gateway.create(config_map(namespace, name="shared", theirs="1", both="1"))

        applied = gateway.apply(config_map(namespace, name="shared", both="2"))

        assert applied["data"] == {"theirs": "1", "both": "2"}

    def test_needs_the_namespace_to_exist(self, gateway):
        with pytest.raises(NotFound):
            gateway.apply(config_map(f"absent-{uuid.uuid4().hex[:8]}", name="a"))


class TestGet:
    def test_says_what_is_missing(self, gateway, namespace):
        with pytest.raises(NotFound) as refused:
            gateway.get(ObjectRef("v1", "ConfigMap", "nowhere", namespace))

        assert "nowhere" in str(refused.value)
        assert refused.value.status == 404

    @pytest.mark.parametrize("name", ["..", ".", "../secrets", "a/status", "%2e%2e"])
    def test_a_name_cannot_reach_another_path(self, gateway, namespace, name):
        with pytest.raises((NotFound, Invalid)):
            gateway.get(ObjectRef("v1", "ConfigMap", name, namespace))


class TestList:
    def test_selects_by_labels_and_says_where_to_watch_from(self, gateway, namespace):
        mark = uuid.uuid4().hex[:8]
        gateway.create(config_map(namespace, name=f"{mark}-a", labels={"m": mark, "x": "1"}))
        gateway.create(config_map(namespace, name=f"{mark}-b", labels={"m": mark, "x": "2"}))

        both = gateway.list("v1", "ConfigMap", namespace=namespace, labels={"m": mark})
        one = gateway.list("v1", "ConfigMap", labels={"m": mark, "x": "2"})

        assert [o["metadata"]["name"] for o in both.items] == [f"{mark}-a", f"{mark}-b"]
        assert [o["metadata"]["name"] for o in one.items] == [f"{mark}-b"]
        assert both.resource_version.isdigit()
        assert (both.items[0]["apiVersion"], both.items[0]["kind"]) == ("v1", "ConfigMap")

    def test_selects_by_fields(self, gateway, namespace):
        made = gateway.create(config_map(namespace))
        name = made["metadata"]["name"]

        found = gateway.list("v1", "ConfigMap", namespace=namespace, field_selector=f"metadata.name={name}")

        assert [o["metadata"]["uid"] for o in found.items] == [made["metadata"]["uid"]]

    def test_nothing_there_is_an_empty_list(self, gateway, namespace):
        assert gateway.list("batch/v1", "Job", namespace=namespace).items == []


class TestDelete:
    def test_removes_and_does_not_mind_what_is_gone(self, gateway, namespace):
        ref = ObjectRef.of(gateway.create(config_map(namespace)))

        gateway.delete(ref)
        gateway.delete(ref)

        with pytest.raises(NotFound):
            gateway.get(ref)

    def test_a_pod_goes_within_its_grace(self, gateway, namespace):
        ref = ObjectRef.of(gateway.create(pod(namespace, f"p-{uuid.uuid4().hex[:8]}")))

        gateway.delete(ref, grace_seconds=0)

        wait_for(lambda: _is_gone(gateway, ref))


class TestPodUsage:
    def test_what_a_running_pod_uses_comes_with_its_labels_and_time(self, server, gateway, namespace):
        ref = self.start(server, gateway, namespace)
        labels = {"cube.io/contract": ref.name}

        (used,) = wait_for(lambda: self.ask(server, gateway, labels), seconds=120)

        assert (used.namespace, used.name) == (namespace, ref.name)
        assert used.labels["cube.io/contract"] == ref.name
        assert abs(datetime.now(UTC) - used.at) < timedelta(minutes=5)
        assert 100 <= used.cpu_millicores <= 64_000
        assert 4096 <= used.memory_bytes < 1 << 30
        assert self.ask(server, gateway, {"cube.io/contract": "nobody"}) == ()

    @staticmethod
    def start(server, gateway, namespace):
        """A pod that keeps one processor busy."""
        manifest = talkative(namespace, f"p-{uuid.uuid4().hex[:8]}")
        manifest["spec"]["containers"][0]["command"] = ["sh", "-c", "while :; do :; done"]
        made = gateway.create(manifest)
        if not server.runs_pods:
            gateway.measure(made, cpu="900156340n", memory="21636Ki")
        else:
            _wait_until_started(server, gateway, ObjectRef.of(made))
        return ObjectRef.of(made)

    @staticmethod
    def ask(server, gateway, labels):
        try:
            return gateway.pod_usage(labels=labels)
        except NotFound:
            if server.name != "real":
                raise
            pytest.skip("the cluster has no metrics-server")


class TestWatch:
    def test_tells_what_happened_after_a_version_in_order(self, gateway, namespace):
        labels = {"w": uuid.uuid4().hex[:8]}
        before = gateway.list("v1", "ConfigMap", namespace=namespace, labels=labels)
        ref = ObjectRef.of(gateway.create(config_map(namespace, labels=labels, a="1")))
        gateway.apply(config_map(namespace, name=ref.name, labels=labels, a="2"))
        gateway.delete(ref)

        events = self.events(gateway, namespace, labels, before.resource_version, 3)

        assert [e.type for e in events] == ["ADDED", "MODIFIED", "DELETED"]
        assert {e.object["metadata"]["name"] for e in events} == {ref.name}
        assert events[1].object["data"] == {"a": "2"}

    def test_resumes_from_the_version_of_an_event(self, gateway, namespace):
        labels = {"w": uuid.uuid4().hex[:8]}
        version = gateway.list("v1", "ConfigMap", namespace=namespace, labels=labels).resource_version
        for name in ("one", "two"):
            gateway.create(config_map(namespace, name=f"{labels['w']}-{name}", labels=labels))
        first = self.events(gateway, namespace, labels, version, 1)[0]

        rest = self.events(gateway, namespace, labels, first.object["metadata"]["resourceVersion"], 1)

        assert [e.object["metadata"]["name"] for e in rest] == [f"{labels['w']}-two"]

    def test_tells_what_happens_while_it_is_open(self, gateway, namespace):
        labels = {"w": uuid.uuid4().hex[:8]}
        version = gateway.list("v1", "ConfigMap", namespace=namespace, labels=labels).resource_version
        late = threading.Timer(0.02, lambda: gateway.create(config_map(namespace, labels=labels)))
        late.start()

        events = self.events(gateway, namespace, labels, version, 1)

        late.join()
        assert [e.type for e in events] == ["ADDED"]

    def test_an_expired_version_is_said_to_be(self, server, gateway, namespace):
        if server.name == "fake":
            gateway.forget_history()

        if server.name == "devcluster":
            pytest.skip("whether version 1 is too old there depends on how long its history is kept")
        with pytest.raises(VersionExpired):
            list(gateway.watch("v1", "ConfigMap", resource_version="1", namespace=namespace, timeout_seconds=2))

    def test_the_server_ends_it(self, gateway, namespace):
        version = gateway.list("v1", "ConfigMap", namespace=namespace).resource_version
        started = time.monotonic()

        list(gateway.watch("v1", "ConfigMap", resource_version=version, namespace=namespace, timeout_seconds=1))

        assert time.monotonic() - started < 10

    @staticmethod
    def events(gateway, namespace, labels, version, count):
        found = []
        for event in gateway.watch(
            "v1", "ConfigMap", resource_version=version, namespace=namespace, labels=labels, timeout_seconds=5
        ):
            found += [event] if event.type != "BOOKMARK" else []
            if len(found) == count:
                break
        return found


class TestStreams:
    async def test_pods_there_and_pods_to_come(self, server, gateway, namespace):
        name = f"p-{uuid.uuid4().hex[:8]}"
        gateway.create(pod(namespace, name))
        streams = server.streams()
        seen = []

        async for event in streams.pod_events(labels={"cube.io/contract": name}):
            seen.append(event.type)
            if event.type == "ADDED":
                gateway.delete(ObjectRef("v1", "Pod", name, namespace), grace_seconds=0)
            if event.type == "DELETED":
                break

        await streams.close()
        assert (seen[0], seen[-1]) == ("ADDED", "DELETED")

    async def test_no_log_of_a_pod_that_is_not_there(self, server, namespace):
        streams = server.streams()

        with pytest.raises(NotFound):
            await self.read(streams, namespace, "nowhere")

        await streams.close()

    async def test_the_log_of_a_pod_without_a_node_is_empty(self, server, gateway, namespace):
        name = f"p-{uuid.uuid4().hex[:8]}"
        gateway.create(pod(namespace, name))
        streams = server.streams()

        assert await self.read(streams, namespace, name) == b""

        await streams.close()

    async def test_no_log_of_a_container_the_pod_does_not_have(self, server, gateway, namespace):
        name = f"p-{uuid.uuid4().hex[:8]}"
        gateway.create(pod(namespace, name))
        streams = server.streams()

        with pytest.raises(Invalid):
            await self.read(streams, namespace, name, container="other")

        await streams.close()

    async def test_the_log_of_a_running_container_is_followed_to_its_end(self, server, gateway, namespace):
        """One line a second for three seconds: they come as they are written, each with its time, once."""
        ref = ObjectRef("v1", "Pod", f"p-{uuid.uuid4().hex[:8]}", namespace)
        made = gateway.create(talkative(namespace, ref.name))
        self.play(server, gateway, made)
        _wait_until_started(server, gateway, ref)
        streams = server.streams()
        chunks, arrivals = [], []

        async for chunk in streams.follow_log(namespace=namespace, pod=ref.name, container="main"):
            chunks.append(chunk)
            arrivals.append(time.monotonic())

        lines = b"".join(chunks).decode().splitlines()
        assert [line.split(" ", 1)[1] for line in lines] == ["line 1", "line 2", "line 3"]
        times = [line.split(" ", 1)[0] for line in lines]
        assert times == sorted(times)
        assert all(t.startswith("20") and t.endswith("Z") for t in times)
        again = await self.read(streams, namespace, ref.name, since_time=times[-1])
        assert again.decode().splitlines()[-1] == lines[-1]
        await streams.close()
        assert gateway.read_log(namespace=namespace, pod=ref.name, container="main", limit_bytes=6) == b"line 1"
        if server.runs_pods:
            assert arrivals[-1] - arrivals[0] > 0.5

    @staticmethod
    def play(server, gateway, made):
        """What the kubelet would do, where there is none."""
        if server.runs_pods:
            return
        ref = ObjectRef.of(made)
        gateway.add({**made, "spec": {**made["spec"], "nodeName": "n"}, "status": {"phase": "Running"}})
        for number in (1, 2, 3):
            gateway.write_log(ref.namespace, ref.name, "main", f"line {number}")
        gateway.end_log(ref.namespace, ref.name, "main")

    @staticmethod
    async def read(streams, namespace, name, container="main", **options):
        chunks = streams.follow_log(namespace=namespace, pod=name, container=container, follow=False, **options)
        return b"".join([chunk async for chunk in chunks])


class TestExec:
    async def test_a_terminal_takes_what_is_typed_and_tells_how_the_program_ended(self, server, gateway, namespace):
        ref = self.start(server, gateway, namespace)
        streams = server.streams()

        async with streams.exec(namespace=namespace, pod=ref.name, container="main", command=["sh"]) as terminal:
            await terminal.resize(columns=101, rows=33)
            await terminal.write(b"echo one   two\r")
            await terminal.write(b"stty size\r")
            await terminal.write(b"exit 3\r")
            said = b"".join([chunk async for chunk in terminal.output()])

        await streams.close()
        assert b"one two\r\n" in said
        assert b"33 101\r\n" in said
        assert terminal.exit_code == 3

    async def test_a_program_that_is_not_there_is_named(self, server, gateway, namespace):
        ref = self.start(server, gateway, namespace)
        streams = server.streams()

        async with streams.exec(namespace=namespace, pod=ref.name, container="main", command=["/nope"]) as terminal:
            with pytest.raises(Invalid) as refused:
                [chunk async for chunk in terminal.output()]

        await streams.close()
        assert "/nope" in str(refused.value)

    async def test_says_what_is_missing(self, server, gateway, namespace):
        waiting = f"p-{uuid.uuid4().hex[:8]}"
        gateway.create(pod(namespace, waiting))
        streams = server.streams()

        with pytest.raises(NotFound) as refused:
            await self.enter(streams, namespace, "nowhere", "main")
        with pytest.raises(Invalid) as wrong_container:
            await self.enter(streams, namespace, waiting, "other")
        with pytest.raises(Invalid) as too_early:
            await self.enter(streams, namespace, waiting, "main")

        await streams.close()
        assert "nowhere" in str(refused.value)
        assert "other" in str(wrong_container.value)
        assert "does not have a host assigned" in str(too_early.value)

    @staticmethod
    async def enter(streams, namespace, name, container):
        async with streams.exec(namespace=namespace, pod=name, container=container, command=["sh"]):
            pass

    @staticmethod
    def start(server, gateway, namespace):
        manifest = talkative(namespace, f"p-{uuid.uuid4().hex[:8]}")
        manifest["spec"]["containers"][0]["command"] = ["sleep", "60"]
        made = gateway.create(manifest)
        if not server.runs_pods:
            gateway.add({**made, "spec": {**made["spec"], "nodeName": "n"}, "status": {"phase": "Running"}})
        _wait_until_started(server, gateway, ObjectRef.of(made))
        return ObjectRef.of(made)


def talkative(namespace, name):
    """A pod that writes three lines, one a second. `CUBE_TEST_IMAGE` names an image with a shell.

    It waits first: a kubelet may tell that a container runs a second or two after it does.
    """
    manifest = restricted_pod(namespace, name)
    script = "sleep 3; for n in 1 2 3; do echo line $n; sleep 1; done"
    manifest["spec"]["containers"][0] |= {
        "image": os.environ.get("CUBE_TEST_IMAGE", "busybox:1.35"),
        "command": ["sh", "-c", script],
    }
    return manifest


def _wait_until_started(server, gateway, ref):
    try:
        wait_for(lambda: gateway.get(ref).get("status", {}).get("phase") in ("Running", "Succeeded"), seconds=90)
    except AssertionError:
        if server.name != "real":
            raise
        pytest.skip("the image does not start there; name another one with CUBE_TEST_IMAGE")


def _is_gone(gateway, ref):
    try:
        gateway.get(ref)
    except NotFound:
        return True
    return False
