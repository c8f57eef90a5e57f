"""Deployments, services and disruption budgets, with real processes."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from apps.devcluster.client import (
    BUDGETS,
    DEPLOYMENTS,
    EVENTS,
    NAMESPACES,
    PODS,
    REPLICA_SETS,
    SERVICES,
    ApiError,
    Object,
)
from tests.devcluster.process import ROOT, Cluster

SERVER = """
import http.server, os, socket
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers(); self.wfile.write(os.environ["WORDS"].encode())
    def log_message(self, *words): pass
http.server.ThreadingHTTPServer((socket.gethostname(), 8080), Handler).serve_forever()
"""
ASK = "import sys, urllib.request as u\nfor at in sys.argv[1:]: print(u.urlopen(at, timeout=5).read().decode())"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    running = Cluster(tmp_path_factory.mktemp("dc"), "--deny-image", "no-such:*")
    for name in ("test", "other"):
        running.do("create", NAMESPACES, None, {"metadata": {"name": name}})
    yield running
    running.end()


def deploy(cluster: Cluster, name: str, replicas: int, command: list[str], **spec: Any) -> None:
    port = {"name": "http", "containerPort": 8080}
    words = [{"name": "WORDS", "value": f"this is {name}"}]
    container = {"name": "main", "image": "a:1", "command": command, "env": words, "ports": [port]}
    container |= spec.pop("container", {})
    pod = {"terminationGracePeriodSeconds": 1, "containers": [container]}
    template = {"metadata": {"labels": {"app": name}}, "spec": pod}
    body = {"replicas": replicas, "selector": {"matchLabels": {"app": name}}, "template": template, **spec}
    cluster.do("create", DEPLOYMENTS, "test", {"metadata": {"name": name}, "spec": body})


def pods(cluster: Cluster, name: str) -> list[Object]:
    found = cluster.do("list", PODS, "test", labelSelector=f"app={name}")[0]
    return [pod for pod in found if not pod["metadata"].get("deletionTimestamp")]


def sizes(cluster: Cluster, name: str) -> dict[str, int]:
    """Replicas by the image of the ReplicaSet."""
    sets = cluster.do("list", REPLICA_SETS, "test", labelSelector=f"app={name}")[0]
    return {rs["spec"]["template"]["spec"]["containers"][0]["image"]: rs["spec"]["replicas"] for rs in sets}


def kubectl(cluster: Cluster, *arguments: str) -> str:
    environment = os.environ | {"KUBECONFIG": cluster.ready["kubeconfig"]}
    command = [str(ROOT / ".venv/bin/kubectl"), "-n", "test", *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)  # noqa: S603 our own client
    assert done.returncode == 0, done.stderr
    return done.stdout


def conditions(cluster: Cluster, name: str) -> dict[str, tuple[str, str]]:
    status = cluster.do("get", DEPLOYMENTS, "test", name)["status"]
    return {c["type"]: (c["status"], c["reason"]) for c in status.get("conditions") or ()}


SLEEP = ["sh", "-c", "trap 'exit 0' TERM; while true; do sleep 0.1; done"]
needs_kubectl = pytest.mark.skipif(not (ROOT / ".venv/bin/kubectl").exists(), reason="kubectl is not installed here")


class TestDeployment:
    @needs_kubectl
    def test_rolls_out_scales_and_goes_back(self, cluster):
        deploy(cluster, "roll", 3, SLEEP)
        kubectl(cluster, "rollout", "status", "deploy/roll", "--timeout=40s")
        first = {pod["metadata"]["uid"] for pod in pods(cluster, "roll")}

        kubectl(cluster, "set", "image", "deploy/roll", "main=a:2")
        kubectl(cluster, "rollout", "status", "deploy/roll", "--timeout=40s")
        assert sizes(cluster, "roll") == {"a:1": 0, "a:2": 3}
        assert not first & {pod["metadata"]["uid"] for pod in pods(cluster, "roll")}

        kubectl(cluster, "rollout", "undo", "deploy/roll")
        kubectl(cluster, "rollout", "status", "deploy/roll", "--timeout=40s")
        history = kubectl(cluster, "rollout", "history", "deploy/roll").split("\n")[1:]
        assert [line.split()[0] for line in history if line] == ["REVISION", "2", "3"]
        assert sizes(cluster, "roll") == {"a:1": 3, "a:2": 0}

        kubectl(cluster, "scale", "deploy/roll", "--replicas=1")
        cluster.wait(lambda: len(pods(cluster, "roll")) == 1)
        kubectl(cluster, "rollout", "restart", "deploy/roll")
        kubectl(cluster, "rollout", "status", "deploy/roll", "--timeout=40s")

        status = cluster.do("get", DEPLOYMENTS, "test", "roll")["status"]
        counted = {key: value for key, value in status.items() if key not in ("conditions", "terminatingReplicas")}
        numbers = dict.fromkeys(("replicas", "updatedReplicas", "readyReplicas", "availableReplicas"), 1)
        assert counted == numbers | {"observedGeneration": 5}
        told = cluster.do("list", EVENTS, "test", fieldSelector="involvedObject.name=roll")[0]
        assert {event["reason"] for event in told} == {"ScalingReplicaSet"}

    def test_keeps_the_old_pods_when_the_new_image_is_missing(self, cluster):
        deploy(cluster, "stall", 2, SLEEP, progressDeadlineSeconds=2)
        ready = ("True", "NewReplicaSetAvailable")
        cluster.wait(lambda: conditions(cluster, "stall").get("Progressing") == ready)
        before = {pod["metadata"]["uid"] for pod in pods(cluster, "stall")}

        container = cluster.do("get", DEPLOYMENTS, "test", "stall")["spec"]["template"]["spec"]["containers"][0]
        change = {"spec": {"template": {"spec": {"containers": [container | {"image": "no-such:1"}]}}}}
        cluster.do("patch", DEPLOYMENTS, "test", "stall", change)

        late = ("False", "ProgressDeadlineExceeded")
        cluster.wait(lambda: conditions(cluster, "stall").get("Progressing") == late)
        assert conditions(cluster, "stall")["Available"] == ("True", "MinimumReplicasAvailable")
        assert sizes(cluster, "stall") == {"a:1": 2, "no-such:1": 1}
        assert before < {pod["metadata"]["uid"] for pod in pods(cluster, "stall")}

    def test_recreates_only_when_the_last_old_pod_is_gone(self, cluster):
        deploy(cluster, "again", 2, SLEEP, strategy={"type": "Recreate"})
        ready = ("True", "NewReplicaSetAvailable")
        cluster.wait(lambda: conditions(cluster, "again").get("Progressing") == ready)

        change = {"spec": {"template": {"metadata": {"labels": {"app": "again", "run": "2"}}}}}
        cluster.do("patch", DEPLOYMENTS, "test", "again", change)

        runs: list[set[str]] = []

        def replaced() -> bool:
            found = cluster.do("list", PODS, "test", labelSelector="app=again")[0]
            runs.append({pod["metadata"]["labels"].get("run", "1") for pod in found})
            return runs[-1] == {"2"}

        cluster.wait(replaced)
        assert {"1", "2"} not in runs

    def test_pauses(self, cluster):
        deploy(cluster, "paused", 1, SLEEP, paused=True)

        cluster.wait(lambda: conditions(cluster, "paused").get("Progressing") == ("Unknown", "DeploymentPaused"))

        assert sizes(cluster, "paused") == {}
        cluster.do("patch", DEPLOYMENTS, "test", "paused", {"spec": {"paused": None}})
        cluster.wait(lambda: sizes(cluster, "paused") == {"a:1": 1})

    def test_leaves_pods_to_an_orphan_that_is_adopted(self, cluster):
        deploy(cluster, "adopt", 1, SLEEP)
        (pod,) = cluster.wait(lambda: pods(cluster, "adopt"))

        cluster.do("delete", DEPLOYMENTS, "test", "adopt", {"propagationPolicy": "Orphan"})
        cluster.wait(lambda: cluster.get(DEPLOYMENTS, "adopt") is None)
        deploy(cluster, "adopt", 1, SLEEP)
        uid = cluster.do("get", DEPLOYMENTS, "test", "adopt")["metadata"]["uid"]

        def owner() -> str:
            (rs,) = cluster.do("list", REPLICA_SETS, "test", labelSelector="app=adopt")[0]
            return (rs["metadata"].get("ownerReferences") or [{}])[0].get("uid", "")

        cluster.wait(lambda: owner() == uid)
        assert [p["metadata"]["uid"] for p in pods(cluster, "adopt")] == [pod["metadata"]["uid"]]

    @pytest.mark.parametrize(
        ("spec", "words"),
        [
            ({"selector": {}}, "spec.selector: Invalid value: {}: empty selector is invalid for deployment"),
            (
                {"strategy": {"rollingUpdate": {"maxSurge": 0, "maxUnavailable": "0%"}}},
                'spec.strategy.rollingUpdate.maxUnavailable: Invalid value: "0%": may not be 0 when `maxSurge` is 0',
            ),
            (
                {"progressDeadlineSeconds": 5, "minReadySeconds": 5},
                "spec.progressDeadlineSeconds: Invalid value: 5: must be greater than minReadySeconds",
            ),
        ],
    )
    def test_is_refused(self, cluster, spec, words):
        with pytest.raises(ApiError) as refusal:
            deploy(cluster, "wrong", 1, SLEEP, **spec)

        assert (refusal.value.code, refusal.value.message) == (422, f'Deployment.apps "wrong" is invalid: {words}')
        assert cluster.get(DEPLOYMENTS, "wrong") is None


class TestService:
    def test_the_api_is_one(self, cluster):
        code = "import ssl, socket, sys\ncontext = ssl.create_default_context(cafile=sys.argv[1])\n"
        code += "for name in sys.argv[2:]:\n    with socket.create_connection((name, 443)) as plain:\n"
        code += "        with context.wrap_socket(plain, server_hostname=name) as s: print(s.version())"
        ca = "/var/run/secrets/kubernetes.io/serviceaccount/ca.crt"
        cluster.submit("api", ["python", "-c", code, ca, "kubernetes.default", "kubernetes.default.svc"])

        ended = cluster.finished("api")["status"].get("succeeded")

        said = cluster.log(cluster.pods("api")[0]["metadata"]["name"])
        if ended is None and os.geteuid() != 0:
            pytest.skip("ports below 1024 cannot be listened on here")
        assert said == b"TLSv1.3\nTLSv1.3\n"

    def test_is_reached_by_name_and_refuses_when_nobody_is_ready(self, cluster):
        deploy(cluster, "web", 1, ["python", "-c", SERVER])
        ports = [{"name": "http", "port": 18080, "targetPort": "http"}, {"name": "same", "port": 8080}]
        body = {"metadata": {"name": "web"}, "spec": {"selector": {"app": "web"}, "ports": ports, "type": "NodePort"}}
        service = cluster.do("create", SERVICES, "test", body)
        cluster.wait(lambda: any(p["status"].get("podIP") for p in pods(cluster, "web")))

        doors = ["web:18080", "web:8080", "web.test:18080", "web.test.svc:8080", "web.test.svc.cluster.local:18080"]
        doors += [f"{service['spec']['clusterIP']}:18080", f"127.0.0.1:{service['spec']['ports'][0]['nodePort']}"]
        cluster.submit("ask", ["python", "-c", ASK, *(f"http://{at}/" for at in doors)], backoffLimit=3)
        cluster.finished("ask")
        said = [cluster.log(pod["metadata"]["name"]) for pod in cluster.pods("ask")]
        assert b"this is web\n" * 7 in said, said

        door = ("127.0.0.1", service["spec"]["ports"][0]["nodePort"])
        socket.create_connection(door).close()
        cluster.do("patch", DEPLOYMENTS, "test", "web", {"spec": {"replicas": 0}})
        cluster.wait(lambda: not cluster.do("list", PODS, "test", labelSelector="app=web")[0])
        cluster.submit("refused", ["python", "-c", ASK, "http://web:18080/"])
        job = cluster.finished("refused")
        assert job["status"]["failed"] == 1
        assert b"Connection refused" in cluster.log(cluster.pods("refused")[0]["metadata"]["name"])
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(door)

    def test_its_name_comes_and_goes_while_a_pod_runs(self, cluster):
        code = "import socket, time\nseen = []\nwhile len(seen) < 3:\n"
        code += "    try: now = socket.gethostbyname('late.test')\n    except OSError: now = None\n"
        code += "    if seen[-1:] != [now]: seen.append(now); print(now, flush=True)\n    time.sleep(0.05)"
        cluster.submit("watch", ["python", "-c", code])
        # Before the container runs, its log is a refusal in words, which is an answer too.
        cluster.wait(
            lambda: cluster.pods("watch") and b"None" in cluster.log(cluster.pods("watch")[0]["metadata"]["name"])
        )

        spec = {"ports": [{"port": 19191}], "selector": {"app": "nobody"}}
        service = cluster.do("create", SERVICES, "test", {"metadata": {"name": "late"}, "spec": spec})
        cluster.wait(lambda: b"127." in cluster.log(cluster.pods("watch")[0]["metadata"]["name"]))
        cluster.do("delete", SERVICES, "test", "late")
        cluster.finished("watch")

        lines = cluster.log(cluster.pods("watch")[0]["metadata"]["name"]).decode().split()
        assert lines == ["None", service["spec"]["clusterIP"], "None"]

    def test_says_that_its_port_is_taken(self, cluster):
        deploy(cluster, "both", 1, ["python", "-c", SERVER])
        spec = {"selector": {"app": "both"}, "ports": [{"port": 19090, "targetPort": 8080}]}
        first = cluster.do("create", SERVICES, "test", {"metadata": {"name": "first"}, "spec": spec})
        address = f"127.96.255.{int(first['metadata']['uid'][:2], 16) % 200 + 2}"
        with socket.create_server((address, 19090)):
            taken = {"metadata": {"name": "taken"}, "spec": spec | {"clusterIP": address}}
            cluster.do("create", SERVICES, "test", taken)
            about = {"fieldSelector": "involvedObject.name=taken"}
            told = cluster.wait(lambda: cluster.do("list", EVENTS, "test", **about)[0])

        assert told[0]["reason"] == "FailedToListen"
        assert told[0]["message"].startswith(f"cannot listen on {address}:19090 for this service: EADDRINUSE")


class TestBudget:
    def test_refuses_the_eviction_it_cannot_afford(self, cluster):
        deploy(cluster, "guarded", 2, SLEEP)
        spec = {"minAvailable": 1, "selector": {"matchLabels": {"app": "guarded"}}}
        cluster.do("create", BUDGETS, "test", {"metadata": {"name": "one"}, "spec": spec})
        cluster.wait(lambda: cluster.do("get", BUDGETS, "test", "one")["status"]["disruptionsAllowed"] == 1)
        paths = [PODS.path("test", pod["metadata"]["name"], "eviction") for pod in pods(cluster, "guarded")]
        eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {}}

        cluster.do("call", "POST", paths[0], eviction)
        with pytest.raises(ApiError) as refusal:
            cluster.do("call", "POST", paths[1], eviction)

        assert refusal.value.code == 429
        cluster.wait(lambda: cluster.do("get", BUDGETS, "test", "one")["status"]["disruptionsAllowed"] == 1)
        assert Path(paths[1]).parent.name in {pod["metadata"]["name"] for pod in pods(cluster, "guarded")}
