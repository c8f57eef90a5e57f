"""metrics.k8s.io as metrics-server serves it: shapes, selectors, rights, and pods too young to be measured."""

from __future__ import annotations

import re
from types import SimpleNamespace

import pytest
import pytest_asyncio

from apps.devcluster.api.server import start_api
from apps.devcluster.kubelet import stats, usage
from apps.devcluster.kubelet.usage import Usage

GROUP = "/apis/metrics.k8s.io/v1beta1"
MEASURED_AT = 1_795_557_600.7
SOON = r"2\d{3}-\d\d-\d\dT\d\d:\d\d:\d\dZ"


class Host:
    """A node whose containers have used what the test says, looked at when the test says."""

    def __init__(self, monkeypatch):
        self.usage, self.workers, self.counters, self.clock = Usage(), [], {}, 100.0
        self.context = SimpleNamespace(usage=self.usage, nodes={"node-a": node("node-a")}, lost=set())
        monkeypatch.setattr(usage, "measure", lambda pid, *, paused: self.counters[pid])
        monkeypatch.setattr(usage, "time", SimpleNamespace(monotonic=lambda: self.clock))

    def run(self, name, *, namespace="team", containers=("main",), labels=None):
        """The pod's containers as pids, in their order."""
        uid = f"uid-{name}"
        metadata = {"name": name, "namespace": namespace, "labels": labels or {"app": name}, "uid": uid}
        self.workers.append(SimpleNamespace(uid=uid, node="node-a", pod={"metadata": metadata}))
        pids = range(len(self.counters), len(self.counters) + len(containers))
        for pid, container in zip(pids, containers, strict=True):
            self.counters[pid] = (0.0, 0)
            run = SimpleNamespace(pid=pid, running=True, paused=False)
            self.usage.add(uid, container, run, None, enforced=True)
        return list(pids)

    def look(self, *, after=0.0, **of_pids):
        """`p3=(1.5, 2**20)`: container 3 has used 1.5 CPU seconds and holds a mebibyte."""
        self.clock += after
        self.counters |= {int(pid[1:]): counted for pid, counted in of_pids.items()}
        for watched in self.usage._watched.values():
            self.usage._look(watched)
            watched.sample.taken = MEASURED_AT

    # -- NodePort
    def pod_usage(self):
        return stats.pod_metrics(self.context, self.workers)

    def node_usage(self):
        return stats.node_metrics(self.context, self.workers)


def node(name):
    return {"metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}}}


@pytest.fixture
def host(monkeypatch):
    return Host(monkeypatch)


@pytest_asyncio.fixture
async def call(tmp_path, host, call_of):
    running = await start_api(tmp_path / "cluster", 0, host)
    async with call_of(running) as client:
        yield client
    await running.close()


async def test_is_discovered_as_metrics_server_has_it(call):
    _, listed = await call("GET", GROUP)

    assert listed["resources"] == [
        {"name": "nodes", "singularName": "", "namespaced": False, "kind": "NodeMetrics", "verbs": ["get", "list"]},
        {"name": "pods", "singularName": "", "namespaced": True, "kind": "PodMetrics", "verbs": ["get", "list"]},
    ]


async def test_a_pod_has_the_rate_of_its_last_window_as_canonical_quantities(host, call):
    host.run("train", containers=("main", "helper"))
    host.look(p0=(10.0, 20 << 20), p1=(0.0, 8192))
    host.look(after=1.004, p0=(10.2, 21 << 20), p1=(0.000157, 22_155_264))

    _, answer = await call("GET", f"{GROUP}/namespaces/team/pods/train")

    assert re.fullmatch(SOON, answer["metadata"].pop("creationTimestamp"))
    assert answer == {
        "kind": "PodMetrics",
        "apiVersion": "metrics.k8s.io/v1beta1",
        "metadata": {"name": "train", "namespace": "team", "labels": {"app": "train"}},
        "timestamp": "2026-11-24T22:00:00Z",
        "window": "1.004s",
        "containers": [
            {"name": "main", "usage": {"cpu": "199203187n", "memory": "21Mi"}},
            {"name": "helper", "usage": {"cpu": "156374n", "memory": "21636Ki"}},
        ],
    }


async def test_a_list_is_in_the_order_of_names_and_narrowed_by_namespace_and_labels(host, call):
    for name, namespace in (("b", "team"), ("a", "team"), ("c", "other")):
        host.run(name, namespace=namespace)
    host.look()
    host.look(after=1)

    status, everything = await call("GET", f"{GROUP}/pods")
    _, of_team = await call("GET", f"{GROUP}/namespaces/team/pods")
    _, labelled = await call("GET", f"{GROUP}/pods", labelSelector="app in (b,c)")

    assert (status, everything["kind"], everything["metadata"]) == (200, "PodMetricsList", {})
    assert [item["metadata"]["name"] for item in everything["items"]] == ["c", "a", "b"]
    assert [item["metadata"]["name"] for item in of_team["items"]] == ["a", "b"]
    assert [item["metadata"]["name"] for item in labelled["items"]] == ["c", "b"]
    assert "kind" not in everything["items"][0]


async def test_a_pod_is_absent_until_each_container_was_measured_over_a_window(host, call, pod):
    await call("POST", "/api/v1/namespaces/default/pods", pod)
    host.run("p", namespace="default", containers=("main", "late"))
    host.look()

    status, refusal = await call("GET", f"{GROUP}/namespaces/default/pods/p")
    _, listed = await call("GET", f"{GROUP}/pods")

    assert (status, refusal["message"]) == (404, 'podmetrics.metrics.k8s.io "default/p" not found')
    assert refusal["details"] == {"name": "default/p", "group": "metrics.k8s.io", "kind": "podmetrics"}
    assert listed["items"] == []


async def test_what_does_not_exist_is_named_itself(call):
    answers = [await call("GET", f"{GROUP}/{path}") for path in ("namespaces/default/pods/nowhere", "nodes/nowhere")]

    assert [(status, body["message"]) for status, body in answers] == [
        (404, 'pods "nowhere" not found'),
        (404, 'nodes "nowhere" not found'),
    ]


async def test_a_node_is_the_sum_of_its_containers(host, call):
    host.run("a")
    host.run("b", containers=("one", "two"))
    host.look()
    host.look(after=1, p0=(0.5, 1 << 20), p1=(0.25, 1 << 20), p2=(0.25, 2 << 20))

    _, listed = await call("GET", f"{GROUP}/nodes")

    assert [item["usage"] for item in listed["items"]] == [{"cpu": "1", "memory": "4Mi"}]
    assert listed["items"][0]["metadata"]["labels"] == {"kubernetes.io/hostname": "node-a"}
    assert (listed["items"][0]["timestamp"], listed["items"][0]["window"]) == ("2026-11-24T22:00:00Z", "1s")


@pytest.mark.parametrize(("verb", "query"), [("POST", {}), ("DELETE", {}), ("GET", {"watch": "1"})])
async def test_is_only_read(call, verb, query):
    status, refusal = await call(verb, f"{GROUP}/namespaces/team/pods", **query)

    assert (status, refusal["reason"]) == (405, "MethodNotAllowed")


async def test_needs_a_right_of_its_own(tmp_path, host, call_of):
    """A service account that may read pods may not read their usage: the group is another."""
    running = await start_api(tmp_path / "own", 0, host)
    rbac = "/apis/rbac.authorization.k8s.io/v1"
    subject = {"kind": "ServiceAccount", "name": "default", "namespace": "default"}

    async def grant(call, group):
        name = f"read-{group or 'core'}"
        rules = [{"apiGroups": [group], "resources": ["pods"], "verbs": ["list"]}]
        await call("POST", f"{rbac}/clusterroles", {"metadata": {"name": name}, "rules": rules})
        role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name}
        body = {"metadata": {"name": name}, "roleRef": role, "subjects": [subject]}
        await call("POST", f"{rbac}/clusterrolebindings", body)

    async with call_of(running) as call:
        await grant(call, "")
        account = "/api/v1/namespaces/default/serviceaccounts/default/token"
        _, token = await call("POST", account, {"kind": "TokenRequest", "apiVersion": "authentication.k8s.io/v1"})
        call.session.headers["Authorization"] = f"Bearer {token['status']['token']}"
        refused, refusal = await call("GET", f"{GROUP}/pods")
        call.session.headers["Authorization"] = f"Bearer {running.admin_token}"
        await grant(call, "metrics.k8s.io")
        call.session.headers["Authorization"] = f"Bearer {token['status']['token']}"
        allowed, _ = await call("GET", f"{GROUP}/pods")
    await running.close()

    assert (refused, allowed) == (403, 200)
    assert 'cannot list resource "pods" in API group "metrics.k8s.io"' in refusal["message"]
