"""Nodes that fall silent, crash, return, come and go: asked of a whole devcluster by the verbs its users have."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from apps.devcluster.client import EVENTS, JOBS, LEASES, NAMESPACES, NODES, PODS, ApiError, Object
from apps.devcluster.nodes import LOST
from tests.devcluster.process import ROOT, Cluster, state

GRACE = "3"
UNREACHABLE = {"key": "node.kubernetes.io/unreachable", "operator": "Exists", "effect": "NoExecute"}
NAMED = ("--node", "name=a,cpu=2", "--node", "name=b,cpu=2,taint=spare=yes:NoSchedule")
NONE: dict[str, Any] = {}


def node_verb(cluster: Cluster, *words: str) -> tuple[int, str]:
    """`devcluster node …` as its users run it: exit code and what it said."""
    command = [sys.executable, "-m", "apps.devcluster", "node", *words, "--data-dir", str(cluster.data_dir)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)  # noqa: S603 our own program
    return done.returncode, done.stdout + done.stderr


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    running = Cluster(tmp_path_factory.mktemp("nodes"), *NAMED, "--node-monitor-grace-period", GRACE)
    running.do("create", NAMESPACES, None, {"metadata": {"name": "test"}})
    yield running
    running.end()


@pytest.fixture
def cluster(shared: Cluster) -> Iterator[Cluster]:
    """Both nodes are well and empty before and after."""
    yield shared
    shared.do("patch", NODES, None, "a", {"metadata": {"annotations": {LOST: None}}})
    for pod in shared.pods():
        shared.do("delete", PODS, "test", pod["metadata"]["name"], {"gracePeriodSeconds": 0})
    shared.wait(lambda: ready(shared, "a")["status"] == "True" and taints(shared, "a") == [])


def start(cluster: Cluster, name: str, code: str, *, on: str = "a", **spec: Any) -> Object:
    """A pod that is bound to a node without the scheduler, once it runs."""
    container = {"name": "main", "image": "anything", "command": ["python", "-c", code]}
    spec = {"restartPolicy": "Never", "terminationGracePeriodSeconds": 1, "containers": [container], **spec}
    pod = cluster.do("create", PODS, "test", {"metadata": {"name": name}, "spec": spec | {"nodeName": on}})
    cluster.wait(lambda: phase(cluster, name) == "Running" and running(code))
    return pod


def sleeper(name: str) -> str:
    return f"import time; {name} = 1; time.sleep(600)"


def running(code: str) -> bool:
    """Whether some process still runs this program."""
    return any(code in (p.info["cmdline"] or []) for p in psutil.process_iter(["cmdline"]))


def phase(cluster: Cluster, name: str) -> str:
    return (cluster.get(PODS, name) or {}).get("status", NONE).get("phase", "gone")


def conditions(obj: Object | None) -> dict[str, Object]:
    return {item["type"]: item for item in (obj or NONE).get("status", NONE).get("conditions") or ()}


def ready(cluster: Cluster, node: str) -> Object:
    return conditions(cluster.do("get", NODES, None, node))["Ready"]


def taints(cluster: Cluster, node: str) -> list[tuple[str, str]]:
    found = cluster.do("get", NODES, None, node)["spec"].get("taints") or []
    return [(taint["key"], taint["effect"]) for taint in found]


def lose(cluster: Cluster, *words: str) -> None:
    assert node_verb(cluster, "lose", "a", *words) == (0, "a is cut off\n")
    cluster.wait(lambda: ready(cluster, "a")["status"] == "Unknown")


def told(cluster: Cluster, namespace: str, name: str) -> set[tuple[str, str]]:
    found = cluster.do("list", EVENTS, namespace, fieldSelector=f"involvedObject.name={name}")[0]
    return {(event["reason"], event["message"]) for event in found}


class TestHeartbeat:
    def test_every_node_renews_its_lease(self, cluster):
        lease = cluster.do("get", LEASES, "kube-node-lease", "a")
        node = cluster.do("get", NODES, None, "a")

        owner = {"apiVersion": "v1", "kind": "Node", "name": "a", "uid": node["metadata"]["uid"]}
        assert lease["metadata"]["ownerReferences"] == [owner]
        assert (lease["spec"]["holderIdentity"], lease["spec"]["leaseDurationSeconds"]) == ("a", 40)
        renewed = lease["spec"]["renewTime"]
        cluster.wait(lambda: cluster.do("get", LEASES, "kube-node-lease", "a")["spec"]["renewTime"] > renewed, 5)

    def test_declared_taints_are_on_the_node(self, cluster):
        assert cluster.do("get", NODES, None, "b")["spec"]["taints"] == [
            {"key": "spare", "value": "yes", "effect": "NoSchedule"}
        ]


class TestLostNode:
    def test_is_unknown_tainted_and_its_pods_are_not_ready(self, cluster):
        start(cluster, "left", sleeper("left"))
        cluster.wait(lambda: conditions(cluster.get(PODS, "left"))["Ready"]["status"] == "True")

        lose(cluster)

        judged = conditions(cluster.do("get", NODES, None, "a"))
        words = ("Unknown", "NodeStatusUnknown", "Kubelet stopped posting node status.")
        for kind in ("Ready", "MemoryPressure", "DiskPressure", "PIDPressure"):
            assert (judged[kind]["status"], judged[kind]["reason"], judged[kind]["message"]) == words
        cluster.wait(lambda: conditions(cluster.get(PODS, "left"))["Ready"]["status"] == "False")
        expected = [("node.kubernetes.io/unreachable", effect) for effect in ("NoSchedule", "NoExecute")]
        cluster.wait(lambda: taints(cluster, "a") == expected)
        assert all(t["timeAdded"] for t in cluster.do("get", NODES, None, "a")["spec"]["taints"])
        cluster.wait(lambda: told(cluster, "default", "a") == {("NodeNotReady", "Node a status is now: NodeNotReady")})
        assert ("NodeNotReady", "Node is not ready") in told(cluster, "test", "left")
        assert taints(cluster, "b") == [("spare", "NoSchedule")]

    def test_keeps_its_pods_as_long_as_they_bear_it_and_evicted_ones_until_it_returns(self, cluster):
        start(cluster, "patient", sleeper("patient"))
        start(cluster, "hasty", sleeper("hasty"), tolerations=[UNREACHABLE | {"tolerationSeconds": 1}])

        lose(cluster)
        cluster.wait(lambda: "deletionTimestamp" in cluster.get(PODS, "hasty")["metadata"])

        why = conditions(cluster.get(PODS, "hasty"))["DisruptionTarget"]
        assert (why["reason"], why["message"]) == (
            "DeletionByTaintManager",
            "Taint manager: deleting due to NoExecute taint",
        )
        assert ("TaintManagerEviction", "Marking for deletion Pod test/hasty") in told(cluster, "test", "hasty")
        time.sleep(2)  # longer than the grace period of the pod
        assert "deletionTimestamp" not in cluster.get(PODS, "patient")["metadata"]
        assert phase(cluster, "hasty") == "Running"
        assert running(sleeper("hasty"))

        assert node_verb(cluster, "return", "a") == (0, "a is back\n")
        cluster.wait(lambda: phase(cluster, "hasty") == "gone")
        cluster.wait(lambda: conditions(cluster.get(PODS, "patient"))["Ready"]["status"] == "True")
        cluster.wait(lambda: taints(cluster, "a") == [])
        assert ready(cluster, "a")["reason"] == "KubeletReady"
        assert cluster.get(PODS, "patient")["status"]["containerStatuses"][0]["restartCount"] == 0
        assert (running(sleeper("hasty")), running(sleeper("patient"))) == (False, True)
        assert ("NodeReady", "Node a status is now: NodeReady") in told(cluster, "default", "a")

    def test_tells_what_ended_meanwhile_when_it_returns(self, cluster):
        code = "import time; brief = 1; time.sleep(4); print('done')"
        start(cluster, "brief", code)

        node_verb(cluster, "lose", "a")
        cluster.wait(lambda: not running(code))
        time.sleep(1)
        assert phase(cluster, "brief") == "Running"
        with pytest.raises(ApiError) as refusal:
            cluster.do("call", "GET", PODS.path("test", "brief", "log"))

        assert (refusal.value.code, refusal.value.message) == (
            500,
            'Get "https://127.0.0.1:10250/containerLogs/test/brief": '
            "dial tcp 127.0.0.1:10250: connect: no route to host",
        )
        node_verb(cluster, "return", "a")
        cluster.wait(lambda: phase(cluster, "brief") == "Succeeded")
        assert cluster.log("brief") == b"done\n"

    def test_takes_no_new_pods_until_it_returns(self, cluster):
        lose(cluster)
        cluster.wait(lambda: len(taints(cluster, "a")) == 2)
        container = {"name": "main", "image": "anything", "command": ["true"]}
        spec = {"restartPolicy": "Never", "containers": [container]}
        cluster.do("create", PODS, "test", {"metadata": {"name": "waiting"}, "spec": spec})
        cluster.do("create", PODS, "test", {"metadata": {"name": "bound"}, "spec": spec | {"nodeName": "a"}})

        message = "0/2 nodes are available: 2 node(s) had untolerated taint(s)."
        refused = cluster.wait(lambda: conditions(cluster.get(PODS, "waiting")).get("PodScheduled"))

        assert refused["message"].startswith(message)
        time.sleep(1)
        assert phase(cluster, "bound") == "Pending"
        node_verb(cluster, "return", "a")
        cluster.wait(lambda: (phase(cluster, "waiting"), phase(cluster, "bound")) == ("Succeeded", "Succeeded"))

    def test_a_forced_deletion_lets_the_object_go_and_the_process_stay(self, cluster):
        start(cluster, "ghost", sleeper("ghost"))
        lose(cluster)

        cluster.do("delete", PODS, "test", "ghost", {"gracePeriodSeconds": 0})

        assert phase(cluster, "ghost") == "gone"
        time.sleep(0.5)
        assert running(sleeper("ghost"))
        node_verb(cluster, "return", "a")
        cluster.wait(lambda: not running(sleeper("ghost")))

    def test_a_crash_ends_its_processes_and_they_start_again_with_it(self, cluster):
        start(cluster, "always", sleeper("always"), restartPolicy="Always")
        start(cluster, "once", sleeper("once"))

        lose(cluster, "--crash")

        assert not running(sleeper("always"))
        assert not running(sleeper("once"))
        assert (phase(cluster, "always"), phase(cluster, "once")) == ("Running", "Running")
        node_verb(cluster, "return", "a")
        cluster.wait(lambda: phase(cluster, "once") == "Failed" and running(sleeper("always")))
        assert state(cluster.get(PODS, "once"))["exitCode"] == 137
        again = cluster.wait(lambda: conditions(cluster.get(PODS, "always"))["Ready"]["status"] == "True" and
                             cluster.get(PODS, "always"))  # fmt: skip
        assert again["status"]["containerStatuses"][0]["restartCount"] == 1

    def test_a_job_goes_on_elsewhere(self, cluster):
        tolerations = [UNREACHABLE | {"tolerationSeconds": 0}, {"key": "spare", "operator": "Exists"}]
        affinity = {"preferredDuringSchedulingIgnoredDuringExecution": [
            {"weight": 1, "preference": {"matchFields": [
                {"key": "metadata.name", "operator": "In", "values": ["a"]}]}}]}  # fmt: skip
        script = 'test "$NODE" = b && exit 0; sleep 600'
        env = [{"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}}]
        pod = {"tolerations": tolerations, "affinity": {"nodeAffinity": affinity}}
        cluster.submit("moves", ["sh", "-c", script], container={"env": env}, pod=pod, backoffLimit=1)
        cluster.wait(lambda: [p["spec"].get("nodeName") for p in cluster.pods("moves")] == ["a"])
        cluster.wait(lambda: cluster.pods("moves")[0]["status"]["phase"] == "Running")

        lose(cluster)
        cluster.wait(lambda: {p["spec"].get("nodeName"): p["status"]["phase"] for p in cluster.pods("moves")}
                     == {"a": "Running", "b": "Succeeded"})  # fmt: skip
        assert "Complete" not in conditions(cluster.get(JOBS, "moves"))  # a pod of it may still run
        node_verb(cluster, "return", "a")

        job = cluster.finished("moves")
        assert (job["status"].get("succeeded"), conditions(job)["Complete"]["status"]) == (1, "True")

    def test_is_still_lost_after_a_restart(self, tmp_path):
        own = Cluster(tmp_path, *NAMED, "--node-monitor-grace-period", GRACE)
        try:
            own.do("create", NAMESPACES, None, {"metadata": {"name": "test"}})
            start(own, "kept", sleeper("kept"))
            lose(own)
            own.end(signal.SIGKILL)
            own.start()

            time.sleep(1)
            assert (ready(own, "a")["status"], phase(own, "kept")) == ("Unknown", "Running")
            node_verb(own, "return", "a")
            own.wait(lambda: ready(own, "a")["status"] == "True" and phase(own, "kept") == "Failed")
        finally:
            own.end()


class TestTaint:
    def test_no_execute_evicts_from_a_healthy_node_when_patience_ends(self, cluster):
        bearing = {"key": "drill", "operator": "Exists", "effect": "NoExecute"}
        start(cluster, "frail", sleeper("frail"))
        start(cluster, "bearing", sleeper("bearing"), tolerations=[bearing])
        start(cluster, "enduring", sleeper("enduring"), tolerations=[bearing | {"tolerationSeconds": 60}])

        taint = {"key": "drill", "value": "now", "effect": "NoExecute"}
        cluster.do("patch", NODES, None, "a", {"spec": {"taints": [taint]}})
        cluster.wait(lambda: phase(cluster, "frail") == "gone")
        cluster.do("patch", NODES, None, "a", {"spec": {"taints": None}})

        words = ("TaintManagerEviction", "Cancelling deletion of Pod test/enduring")
        cluster.wait(lambda: words in told(cluster, "test", "enduring"))
        assert not running(sleeper("frail"))
        assert (phase(cluster, "bearing"), phase(cluster, "enduring")) == ("Running", "Running")
        assert "DisruptionTarget" not in conditions(cluster.get(PODS, "enduring"))


class TestComingAndGoing:
    def test_a_node_is_added_to_a_running_cluster_and_goes_with_its_pods(self, cluster):
        assert node_verb(cluster, "add", "name=late,cpu=1,label=zone:z") == (0, "added\n")
        cluster.wait(lambda: conditions(cluster.do("get", NODES, None, "late")).get("Ready"))
        start(cluster, "guest", sleeper("guest"), on="late")
        labels = cluster.do("get", NODES, None, "late")["metadata"]["labels"]
        assert (labels["zone"], labels["kubernetes.io/hostname"]) == ("z", "late")

        cluster.do("patch", PODS, "test", "guest", {"metadata": {"finalizers": ["example.com/keep"]}})
        cluster.do("delete", NODES, None, "late")
        cluster.wait(lambda: "deletionTimestamp" in cluster.get(PODS, "guest")["metadata"])

        why = conditions(cluster.get(PODS, "guest"))["DisruptionTarget"]
        assert (why["reason"], why["message"]) == ("DeletionByPodGC", "PodGC: node no longer exists")
        assert phase(cluster, "guest") == "Failed"
        cluster.do("patch", PODS, "test", "guest", {"metadata": {"finalizers": None}})
        cluster.wait(lambda: phase(cluster, "guest") == "gone" and not running(sleeper("guest")))
        assert node_verb(cluster, "return", "late") == (1, 'nodes "late" not found\n')

    @pytest.mark.parametrize(
        ("words", "code", "answer"),
        [
            (("lose", "nobody"), 1, 'nodes "nobody" not found\n'),
            (("lose",), 2, "node takes lose NAME, return NAME or add name=…\n"),
            (("hide", "a"), 2, "node takes lose NAME, return NAME or add name=…\n"),
            (("add", "cpu=1"), 1, "--node 'cpu=1' names no node (name=…)\n"),
            (("add", "name=a"), 1, 'nodes "a" already exists\n'),
        ],
    )
    def test_wrong_words_change_nothing(self, cluster, words, code, answer):
        assert node_verb(cluster, *words) == (code, answer)

        assert [node["metadata"]["name"] for node in cluster.do("list", NODES)[0]] == ["a", "b"]
        assert "annotations" not in cluster.do("get", NODES, None, "a")["metadata"]
        assert ready(cluster, "a")["status"] == "True"

    def test_without_a_cluster_there_are_no_nodes(self, tmp_path: Path):
        command = [sys.executable, "-m", "apps.devcluster", "node", "lose", "a", "--data-dir", str(tmp_path)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)  # noqa: S603 our own program

        assert (done.returncode, done.stdout) == (3, f"not running in {tmp_path}\n")
