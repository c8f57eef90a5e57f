"""The verbs as their users run them: `manage.py devcluster` and `python -m apps.devcluster`, as root and as anybody."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import psutil
import pytest
import yaml

from apps.devcluster.client import NAMESPACES, NODES, PODS, SERVICES
from tests.devcluster.process import ROOT, Cluster

SERVER = """
import socket
server = socket.create_server((socket.gethostname(), 18123))
while True:
    server.accept()[0].send(b"hi")
"""
ENTRANCES = {"manage.py": ["manage.py", "devcluster"], "module": ["-m", "apps.devcluster"]}


# In a mount namespace of its own, where the folder that closes the interpreter to others shows nothing but it.
AS_NOBODY = """
if [ -n "$2" ]; then
    mkdir -p "$3/python" && mount --bind "$1" "$3/python" && mount -t tmpfs -o mode=755 tmpfs "$2" || exit 9
    mkdir -p "$1" && mount --move "$3/python" "$1" || exit 9
fi
cd . && export HOME="$3" && shift 3 && exec setpriv --reuid=nobody --regid=nogroup --clear-groups "$@"
"""


def verb(*words: str, entrance: str = "module", before: Sequence[str] = ()) -> tuple[int, str]:
    """Exit code and what was said."""
    command = [*before, sys.executable, *ENTRANCES[entrance], *words]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)  # noqa: S603 ours
    return done.returncode, done.stdout


@pytest.fixture
def clusters(tmp_path: Path) -> Iterator[list[Cluster]]:
    """Two side by side, each with a namespace."""
    running = [
        Cluster(tmp_path / name, *options) for name, options in (("one", ["--pretend-gpus", "4:A100"]), ("two", []))
    ]
    for cluster in running:
        cluster.do("create", NAMESPACES, None, {"metadata": {"name": "test"}})
    yield running
    for cluster in running:
        cluster.end()


def test_status_kubeconfig_stop_and_reset(tmp_path):
    folder = tmp_path / "dc"

    def ask(word: str) -> tuple[int, str]:
        return verb(word, "--data-dir", str(folder))

    assert ask("status") == (3, f"not running in {folder}\n")
    assert ask("kubeconfig") == (1, f"there is no cluster in {folder}; start one first\n")
    assert ask("stop") == (0, "not running\n")
    cluster = Cluster(folder)
    assert ask("status") == (0, f"running as process {cluster.process.pid} in {folder}\n")
    code, text = ask("kubeconfig")
    assert (code, yaml.safe_load(text)["clusters"][0]["cluster"]["server"]) == (0, cluster.ready["url"])

    assert ask("stop") == (0, "stopped\n")
    assert cluster.process.wait(5) == 0
    assert (folder / "objects.sqlite3").exists()
    assert ask("status") == (3, f"not running in {folder}\n")
    assert ask("reset") == (0, f"not running\nremoved {folder}\n")
    assert not folder.exists()


def test_manage_py_starts_it(tmp_path):
    command = [sys.executable, "manage.py", "devcluster", "start", "--data-dir", str(tmp_path), "--pretend-gpus", "2"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603 ours
        assert process.stdout
        assert '"ready": true' in process.stdout.readline()
        words = ("--data-dir", str(tmp_path))
        running = f"running as process {process.pid} in {tmp_path}\n"
        assert verb("status", *words, entrance="manage.py") == (0, running)
        assert verb("reset", *words) == (0, f"stopped\nremoved {tmp_path}\n")

        assert process.wait(10) == 0
    assert not tmp_path.exists()


def test_reset_spares_a_folder_that_is_no_cluster(tmp_path):
    (tmp_path / "thesis").write_text("ten years")

    assert verb("reset", "--data-dir", str(tmp_path)) == (0, f"there is no cluster in {tmp_path}\n")

    assert (tmp_path / "thesis").read_text() == "ten years"


def test_a_second_start_in_the_same_folder_is_refused_and_the_first_goes_on(tmp_path):
    cluster = Cluster(tmp_path)
    try:
        assert verb("start", "--data-dir", str(tmp_path)) == (1, "")

        assert cluster.do("get", NODES, None, "cube-dev-node")["metadata"]["name"] == "cube-dev-node"
    finally:
        cluster.end()


class TestSideBySide:
    def test_they_share_nothing(self, clusters):
        one, two = clusters
        gpus = [cluster.do("get", NODES, None, "cube-dev-node") for cluster in clusters]

        assert gpus[0]["status"]["allocatable"]["nvidia.com/gpu"] == "4"
        assert gpus[0]["metadata"]["labels"]["gpu-type"] == "A100"
        assert "nvidia.com/gpu" not in gpus[1]["status"]["allocatable"]
        for cluster in clusters:
            wanted = {"resources": {"limits": {"nvidia.com/gpu": "4"}}}
            cluster.submit("same", ["sh", "-c", "echo $HOSTNAME"], container=wanted)
        one.finished("same")
        (waiting,) = two.wait(lambda: [p for p in two.pods("same") if p.get("status", {}).get("conditions")])
        assert waiting["status"]["conditions"][0]["message"].startswith(
            "0/1 nodes are available: 1 Insufficient nvidia.com/gpu."
        )
        assert waiting["status"]["phase"] == "Pending"

    def test_the_same_ports_are_served_by_both(self, clusters):
        ports = []
        for cluster in clusters:
            container = {"name": "main", "image": "anything", "command": ["python", "-c", SERVER]}
            spec = {"containers": [container | {"readinessProbe": {"tcpSocket": {"port": 18123}, "periodSeconds": 1}}]}
            cluster.do("create", PODS, "test", {"metadata": {"name": "web", "labels": {"app": "web"}}, "spec": spec})
            wanted = {"selector": {"app": "web"}, "ports": [{"port": 18123}], "type": "NodePort"}
            made = cluster.do("create", SERVICES, "test", {"metadata": {"name": "web"}, "spec": wanted})
            ports.append(made["spec"]["ports"][0]["nodePort"])

        def answers(port: int) -> bool:
            async def read() -> bytes:
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                with contextlib.closing(writer):
                    return await reader.read(2)

            try:
                return asyncio.run(read()) == b"hi"
            except OSError:
                return False

        assert ports[0] != ports[1]
        for cluster, port in zip(clusters, ports, strict=True):
            cluster.wait(lambda port=port: answers(port))


@pytest.fixture
def home() -> Iterator[Path]:
    """A folder that an ordinary user owns: pytest's are closed to all but root."""
    if os.geteuid() != 0:
        pytest.skip("not root: every other test runs as an ordinary user already")
    folder = Path(tempfile.mkdtemp(prefix="devcluster-"))
    try:
        shutil.chown(folder, "nobody", "nogroup")
        yield folder
    except LookupError:
        pytest.skip("this host has no user `nobody`")
    finally:
        shutil.rmtree(folder)


@pytest.fixture
def as_nobody(home: Path) -> list[str]:
    """What to put before a command so that an ordinary user runs it."""
    closed = [str(path) for path in Path(sys.base_prefix).parents if not path.stat().st_mode & 1]
    script = ["sh", "-c", AS_NOBODY, "sh", sys.base_prefix, closed[-1] if closed else "", str(home)]
    before = ["unshare", "--mount", *script]
    probe = [*before, sys.executable, "-c", "import apps.devcluster.cluster"]
    done = subprocess.run(probe, cwd=ROOT, capture_output=True, text=True, check=False)  # noqa: S603 ours
    if done.returncode:
        pytest.skip(f"an ordinary user cannot run our interpreter here: {done.stderr.strip()[-200:]}")
    return before


@pytest.mark.parametrize("mode", [[], ["--no-isolation"]], ids=["as-it-finds", "mapped"])
def test_an_ordinary_user_runs_a_cluster(home, as_nobody, mode):
    folder = home / "dc"
    cluster = Cluster(folder, *mode, before=as_nobody)
    try:
        assert psutil.Process(cluster.process.pid).uids().effective == home.stat().st_uid
        cluster.do("create", NAMESPACES, None, {"metadata": {"name": "test"}})
        mounted = {"volumeMounts": [{"name": "w", "mountPath": "/workspace"}], "workingDir": "/workspace"}
        limits = {"resources": {"limits": {"memory": "64Mi"}}}
        script = ["sh", "-c", "echo mine > f; cat /workspace/f"]
        volumes = {"volumes": [{"name": "w", "emptyDir": {}}]}
        cluster.submit("small", script, container=mounted | limits, pod=volumes)

        job = cluster.finished("small")

        assert job["status"]["succeeded"] == 1
        assert cluster.log(cluster.pods("small")[0]["metadata"]["name"]) == b"mine\n"
        assert {path.stat().st_uid for path in folder.rglob("*")} == {home.stat().st_uid}
        assert verb("stop", "--data-dir", str(folder), before=as_nobody) == (0, "stopped\n")
        assert verb("reset", "--data-dir", str(folder), before=as_nobody) == (0, f"not running\nremoved {folder}\n")
    finally:
        cluster.end(signal.SIGKILL)
