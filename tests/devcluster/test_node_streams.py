"""exec, attach and ports, as kubectl and the official client use them."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from kubernetes import client as official
from kubernetes import config
from kubernetes.client.rest import ApiException
from kubernetes.stream import portforward, stream

from apps.devcluster.client import NAMESPACES, PODS
from tests.devcluster.process import Cluster

KUBECTL = shutil.which("kubectl")
SERVER = """
import http.server, os
class Door(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = ("path " + self.path).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
http.server.HTTPServer((os.environ["IP"], 28417), Door).serve_forever()
"""


@pytest.fixture(scope="module", params=[[], ["--no-isolation"]], ids=["isolated", "mapped"])
def cluster(request, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    running = Cluster(tmp_path_factory.mktemp("dc"), *request.param)
    running.do("create", NAMESPACES, None, {"metadata": {"name": "test"}})
    running.mapped = bool(request.param)
    make_pod(running, "x", ["sh", "-c", "trap 'exit 0' TERM; while true; do sleep 0.1; done"])
    yield running
    running.end()


@pytest.fixture
def core(cluster) -> official.CoreV1Api:
    """The official client; `stream` patches what it is given, so each test has its own."""
    return official.CoreV1Api(config.new_client_from_config(str(cluster.data_dir / "kubeconfig")))


def make_pod(cluster: Cluster, name: str, command: list[str], **container: object) -> None:
    mounts = {"volumeMounts": [{"name": "w", "mountPath": "/workspace"}], "workingDir": "/workspace"}
    spec = {"name": "main", "image": "any", "command": command, "env": [{"name": "WHO", "value": "x"}], **mounts}
    pod = {"restartPolicy": "Never", "terminationGracePeriodSeconds": 1, "volumes": [{"name": "w", "emptyDir": {}}]}
    body = {"metadata": {"name": name}, "spec": pod | {"containers": [spec | container]}}
    cluster.do("create", PODS, "test", body)
    cluster.wait(lambda: cluster.get(PODS, name)["status"]["phase"] == "Running")


def run_in(core: official.CoreV1Api, *command: str, pod: str = "x", **options: object):
    wanted = {"stdout": True, "stderr": True, "stdin": False, "tty": False, **options}
    call = core.connect_get_namespaced_pod_exec
    return stream(call, pod, "test", command=list(command), **wanted)


def count(marker: str) -> int:
    return sum(marker in (p.info["cmdline"] or []) for p in psutil.process_iter(["cmdline"]))


def pipes(cluster: Cluster) -> int:
    """How many pipes and terminals the devcluster holds."""
    links = [os.readlink(path) for path in Path(f"/proc/{cluster.process.pid}/fd").iterdir() if path.is_symlink()]
    return sum(link.startswith(("pipe:", "/dev/p")) for link in links)


class TestExec:
    def test_runs_where_the_container_runs(self, core):
        text = run_in(core, "sh", "-c", "echo $WHO > /workspace/f; cat f; echo err >&2; pwd >&2")

        assert sorted(text.split()) == sorted(["x", "err", text.split()[-1]])
        assert text.split()[-1] == "/workspace" or text.endswith("/volumes/w\n")

    def test_gives_exit_codes(self, core):
        session = run_in(core, "sh", "-c", "exit 3", _preload_content=False)
        session.run_forever(timeout=20)

        assert session.returncode == 3

    def test_takes_input(self, core):
        session = run_in(core, "sh", "-c", "read a; echo got $a", stdin=True, _preload_content=False)
        session.write_stdin("one\n")
        session.run_forever(timeout=20)

        assert session.read_stdout() == "got one\n"
        assert session.returncode == 0

    def test_has_a_terminal_of_the_size_asked_for(self, core):
        session = run_in(core, "sh", "-c", "read a; stty size", stdin=True, tty=True, _preload_content=False)
        session.write_channel(4, '{"Width": 99, "Height": 33}')
        session.write_stdin("\n")
        session.run_forever(timeout=20)

        assert "33 99" in session.read_stdout()

    def test_ends_when_the_socket_closes(self, cluster, core):
        marker = f"77{os.getpid()}{int(cluster.mapped)}"
        session = run_in(core, "sh", "-c", f"sleep {marker} & sleep {marker}", _preload_content=False)
        cluster.wait(lambda: count(marker) == 2)

        session.close()

        cluster.wait(lambda: count(marker) == 0, 10)
        assert cluster.get(PODS, "x")["status"]["phase"] == "Running"

    def test_ends_with_its_container(self, cluster, core):
        marker = f"78{os.getpid()}{int(cluster.mapped)}"
        make_pod(cluster, "short", ["sleep", "900"])
        session = run_in(core, "sleep", marker, pod="short", _preload_content=False)
        cluster.wait(lambda: count(marker) == 1)

        cluster.do("delete", PODS, "test", "short", {"gracePeriodSeconds": 0})

        session.run_forever(timeout=20)
        cluster.wait(lambda: count(marker) == 0, 10)
        assert not session.is_open()

    @pytest.mark.skipif(sys.platform != "linux", reason="descriptors are listed in /proc")
    def test_leaves_no_descriptor(self, cluster, core):
        before = pipes(cluster)

        for _ in range(5):
            run_in(core, "true", tty=True, stderr=False)
            run_in(core, "true", stdin=True)

        cluster.wait(lambda: pipes(cluster) <= before, 10)


@pytest.mark.skipif(KUBECTL is None, reason="kubectl is not on this machine")
class TestKubectl:
    @staticmethod
    def kubectl(cluster: Cluster, *arguments: str, **options: object) -> subprocess.CompletedProcess[bytes]:
        command = [KUBECTL, "--kubeconfig", str(cluster.data_dir / "kubeconfig"), "-n", "test", *arguments]
        return subprocess.run(command, capture_output=True, check=False, timeout=30, **options)  # noqa: S603

    def test_passes_exit_codes_on(self, cluster):
        done = self.kubectl(cluster, "exec", "x", "--", "sh", "-c", "echo hi; exit 3")

        assert (done.returncode, done.stdout) == (3, b"hi\n")

    def test_hears_why_it_cannot(self, cluster):
        wrong = self.kubectl(cluster, "exec", "x", "-c", "nope", "--", "true")
        missing = self.kubectl(cluster, "exec", "x", "--", "/nope")

        assert b"nope" in wrong.stderr
        assert wrong.returncode == 1
        assert b'exec: "/nope": stat /nope: no such file or directory' in missing.stderr

    def test_pipes_input_to_its_end(self, cluster):
        done = self.kubectl(cluster, "exec", "-i", "x", "--", "wc", "-c", input=b"z" * 1_000_000)

        assert done.stdout.split() == [b"1000000"]

    def test_gives_a_terminal(self, cluster):
        ours, theirs = os.openpty()
        command = [KUBECTL, "--kubeconfig", str(cluster.data_dir / "kubeconfig"), "-n", "test"]
        command += ["exec", "-it", "x", "--", "sh", "-c", "tty -s && echo yes"]
        done = subprocess.run(command, stdin=theirs, stdout=theirs, stderr=theirs, check=False, timeout=30)  # noqa: S603
        os.close(theirs)

        assert done.returncode == 0
        assert b"yes" in os.read(ours, 1000)
        os.close(ours)

    @pytest.mark.skipif(shutil.which("tar") is None, reason="kubectl cp needs tar in the container")
    def test_copies_both_ways(self, cluster, tmp_path):
        if cluster.mapped:
            pytest.skip("kubectl cp hands tar a path on its own, which is replaced, and strips the original prefix")
        (tmp_path / "in").write_bytes(b"data" * 1000)

        there = self.kubectl(cluster, "cp", str(tmp_path / "in"), "x:/workspace/in")
        back = self.kubectl(cluster, "cp", "x:/workspace/in", str(tmp_path / "out"))

        assert (there.returncode, back.returncode) == (0, 0), there.stderr + back.stderr
        assert (tmp_path / "out").read_bytes() == b"data" * 1000


class TestAttach:
    def test_shares_the_containers_own_streams(self, cluster, core):
        make_pod(cluster, "asks", ["sh", "-c", "read a; echo got $a; sleep 1"], stdin=True)
        call = core.connect_get_namespaced_pod_attach
        session = stream(call, "asks", "test", stdin=True, stdout=True, stderr=True, tty=False, _preload_content=False)

        session.write_stdin("one\n")

        session.run_forever(timeout=20)
        assert session.read_stdout() == "got one\n"
        assert cluster.log("asks") == b"got one\n"


class TestPorts:
    def test_are_forwarded_and_proxied(self, cluster, core):
        address = {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}
        make_pod(cluster, "web", ["python", "-c", SERVER], env=[address])

        def proxied() -> str | None:
            try:
                return core.connect_get_namespaced_pod_proxy_with_path("web:28417", "test", path="a/b")
            except ApiException:
                return None  # Not listening yet.

        assert "path /a/b" in cluster.wait(proxied)
        forwarded = portforward(core.connect_get_namespaced_pod_portforward, "web", "test", ports="28417")
        with contextlib.closing(forwarded.socket(28417)) as door:
            door.sendall(b"GET /c HTTP/1.0\r\n\r\n")
            door.settimeout(10)
            answer = b""
            while b"path /c" not in answer:
                answer += door.recv(1000)
        cluster.do("delete", PODS, "test", "web", {"gracePeriodSeconds": 0})
