"""What one tenant's process cannot do, what limits hold it, and what is measured of it."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import psutil
import pytest

from apps.devcluster.client import EVENTS, JOBS, NAMESPACES, NODES, PODS
from apps.devcluster.kubelet.cgroups import Cgroups
from apps.devcluster.quantities import parse
from tests.devcluster.process import ROOT, Cluster, state

SECRET = "the-neighbours-secret"
# Tries every way it knows to the neighbour's file and the cluster's token; prints what it could read.
THIEF = """
import ctypes, glob, os, subprocess, sys
data, secret = sys.argv[1:]
libc = ctypes.CDLL(None, use_errno=True)
def look(where):
    for folder, _, names in os.walk(where, onerror=lambda error: None):
        for name in names:
            try:
                text = open(os.path.join(folder, name), errors="replace").read(10000)
            except OSError:
                continue
            if secret in text or name in ("admin.token", "sa.key"):
                print("FOUND", os.path.join(folder, name))
look(data)
for root in glob.glob("/proc/[0-9]*/root") + glob.glob("/proc/[0-9]*/cwd"):
    look(root + data)
os.symlink(data, "/workspace/link")
look("/workspace/link/")
os.makedirs("/workspace/bind", exist_ok=True)
print("bind", libc.mount(data.encode(), b"/workspace/bind", None, 4096, None))
look("/workspace/bind")
print("umount", libc.umount2(data.encode(), 2))
look(data)
if os.fork() == 0:
    if libc.unshare(0x10020000) == 0:
        libc.umount2(data.encode(), 2)
        look(data)
    os._exit(0)
os.wait()
for pid in range(1, 400):
    if pid != os.getpid() and libc.ptrace(16, pid, None, None) == 0:
        print("PTRACED", pid)
try:
    os.mknod("/workspace/disk", 0o060600, os.makedev(8, 0))
    print("MADE A DISK")
except OSError:
    pass
for path in ("/etc/devcluster-was-here", "/usr/devcluster-was-here", "/var/devcluster-was-here"):
    try:
        open(path, "w")
        print("WROTE", path)
    except OSError:
        pass
open(os.path.expanduser("~/mine"), "w"), open("/tmp/mine", "w"), open("/dev/shm/mine", "w"), open("/var/tmp/mine", "w")
print("done")
"""
BURNER = "import sys; x = bytearray(200 << 20)\nwhile True: pass"


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """With its data outside /tmp: a container's own /tmp would hide it, and nothing else be tried."""
    options = ("--container-log-max-size", "64Ki", "--container-log-monitor-interval", "0.2")
    (ROOT / "var").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=ROOT / "var", prefix="test-") as folder:
        running = Cluster(Path(folder), *options)
        running.do("create", NAMESPACES, None, {"metadata": {"name": "test"}})
        yield running
        running.end()


def start(cluster: Cluster, name: str, command: list[str], spec: dict[str, Any] | None = None, **more: Any) -> None:
    mounts = [{"name": "w", "mountPath": "/workspace"}]
    container = {"name": "main", "image": "any", "command": command, "volumeMounts": mounts, **more}
    pod = {"restartPolicy": "Never", "terminationGracePeriodSeconds": 1, "volumes": [{"name": "w", "emptyDir": {}}]}
    pod |= {"containers": [container], **(spec or {})}
    cluster.do("create", PODS, "test", {"metadata": {"name": name}, "spec": pod})


def phase(cluster: Cluster, name: str, *wanted: str) -> Any:
    return cluster.wait(lambda: cluster.get(PODS, name)["status"]["phase"] in wanted and cluster.get(PODS, name))


def process_of(code: str) -> psutil.Process:
    """The process whose last argument is this code (not its launcher, which has another command line)."""
    found = [p for p in psutil.process_iter(["cmdline"]) if (p.info["cmdline"] or [""])[-1] == code]
    assert len(found) == 1
    return found[0]


def about(event: dict[str, Any], reason: str, pod: str) -> bool:
    return event["reason"] == reason and event["involvedObject"]["name"] == pod


class TestIsolation:
    def test_a_tenant_reads_no_neighbour_and_no_credentials(self, cluster):
        node = cluster.do("get", NODES, None, "cube-dev-node")
        if any(c["type"] == "ContainersNotIsolated" for c in node["status"]["conditions"]):
            pytest.skip("this host allows no namespaces; the node's condition says so")
        start(cluster, "neighbour", ["sh", "-c", f"echo {SECRET} > /workspace/f; sleep 60"])
        phase(cluster, "neighbour", "Running")

        start(cluster, "thief", ["python", "-c", THIEF, str(cluster.data_dir), SECRET])

        phase(cluster, "thief", "Succeeded", "Failed")
        assert cluster.log("thief").decode() == "bind -1\numount -1\ndone\n"
        assert not Path("/etc/devcluster-was-here").exists()
        assert not (Path.home() / "mine").exists()
        cluster.do("delete", PODS, "test", "neighbour", {"gracePeriodSeconds": 0})

    def test_the_mapped_mode_says_what_it_is(self, tmp_path):
        own = Cluster(tmp_path, "--no-isolation")
        try:
            conditions = own.do("get", NODES, None, "cube-dev-node")["status"]["conditions"]
        finally:
            own.end()
        (condition,) = [c for c in conditions if c["type"] == "ContainersNotIsolated"]
        assert condition["status"] == "True"
        assert "a pod can read other pods' volumes" in condition["message"]


class TestUse:
    async def _read(self, cluster: Cluster, path: str) -> Any:
        connector = aiohttp.UnixConnector(path=str(cluster.data_dir / "api.sock"))
        async with aiohttp.ClientSession(connector=connector) as session, session.get(f"http://d{path}") as answer:
            return await answer.json()

    @pytest.mark.asyncio
    async def test_is_what_psutil_reads_of_the_same_processes(self, cluster):
        import asyncio

        summary = "/api/v1/nodes/cube-dev-node/proxy/stats/summary"
        await asyncio.to_thread(start, cluster, "burner", ["python", "-c", BURNER])
        await asyncio.to_thread(phase, cluster, "burner", "Running")

        async def mine() -> Any:
            """The container's next fresh sample, with psutil's counter read just before and after."""
            last = None
            while True:
                low = sum(process.cpu_times()[:2])
                pods = (await self._read(cluster, summary))["pods"]
                found = [p["containers"][0] for p in pods if p["podRef"]["name"] == "burner" and p["containers"]]
                high = sum(process.cpu_times()[:2])
                if found and last not in (None, found[0]["cpu"]["time"]):
                    return found[0], (low + high) / 2
                last = found[0]["cpu"]["time"] if found else last
                await asyncio.sleep(0.02)

        process = await asyncio.to_thread(process_of, BURNER)
        await asyncio.sleep(1)
        first, cpu_before = await mine()
        await asyncio.sleep(4)
        second, cpu_after = await mine()

        counted = (second["cpu"]["usageCoreNanoSeconds"] - first["cpu"]["usageCoreNanoSeconds"]) / 1e9
        assert counted == pytest.approx(cpu_after - cpu_before, rel=0.05)
        assert second["memory"]["workingSetBytes"] == pytest.approx(process.memory_info().rss, rel=0.05)
        listed = await self._read(cluster, "/apis/metrics.k8s.io/v1beta1/namespaces/test/pods/burner")
        held = int(parse(listed["containers"][0]["usage"]["memory"]))
        assert held == pytest.approx(process.memory_info().rss, rel=0.05)
        await asyncio.to_thread(cluster.do, "delete", PODS, "test", "burner", {"gracePeriodSeconds": 0})

    def test_of_the_processor_is_limited(self, cluster):
        if not Cgroups().enforces("cpu"):
            pytest.skip("cgroups may not be made on this host")
        code = BURNER + "  # limited"
        start(cluster, "slow", ["python", "-c", code], resources={"limits": {"cpu": "200m"}})
        phase(cluster, "slow", "Running")
        process = cluster.wait(lambda: process_of(code))
        before, at = sum(process.cpu_times()[:2]), time.monotonic()
        time.sleep(2)

        cores = (sum(process.cpu_times()[:2]) - before) / (time.monotonic() - at)

        assert cores < 0.3
        cluster.do("delete", PODS, "test", "slow", {"gracePeriodSeconds": 0})


class TestLogs:
    def test_rotate_and_only_the_current_file_is_read(self, cluster):
        code = "import time\nfor i in range(40): print(f'{i:03}' + 'x' * 9000, flush=True); time.sleep(0.05)\n"
        code += "time.sleep(0.6); print('040')"  # After the last look, so that the current file is not empty.
        start(cluster, "loud", ["python", "-c", code])

        pod = phase(cluster, "loud", "Succeeded")

        folder = cluster.data_dir / "pods" / pod["metadata"]["uid"] / "main"
        rotated = sorted(folder.glob("0.log.*"))
        kept = [line[:3] for line in cluster.log("loud").decode().splitlines()]
        assert 2 <= len(rotated) <= 4
        assert 0 < len(kept) < 20
        assert kept == [f"{i:03}" for i in range(41 - len(kept), 41)]


class TestHooksAndProbes:
    def test_run_as_asked(self, cluster):
        hooks = {
            "postStart": {"exec": {"command": ["sh", "-c", "echo post > /workspace/post"]}},
            "preStop": {"exec": {"command": ["sh", "-c", "echo pre >> /workspace/post"]}},
        }
        script = "trap 'cat /workspace/post; exit 0' TERM; while true; do sleep 0.1; done"
        ready = {"exec": {"command": ["grep", "post", "/workspace/post"]}, "periodSeconds": 1}
        start(cluster, "hooked", ["sh", "-c", script], lifecycle=hooks, readinessProbe=ready)
        conditions = lambda: cluster.get(PODS, "hooked")["status"]["conditions"]  # noqa: E731
        cluster.wait(lambda: any(c["type"] == "Ready" and c["status"] == "True" for c in conditions()))
        uid = cluster.get(PODS, "hooked")["metadata"]["uid"]
        log = cluster.data_dir / "pods" / uid / "main" / "0.log"
        text = log.open("rb")

        cluster.do("delete", PODS, "test", "hooked", {"gracePeriodSeconds": 5})

        cluster.wait(lambda: cluster.get(PODS, "hooked") is None)
        assert [line.split(b" ")[3] for line in text.read().splitlines()] == [b"post", b"pre"]
        text.close()
        cluster.wait(lambda: not log.parent.parent.exists(), 5)

    def test_a_hook_that_fails_ends_the_container(self, cluster):
        hooks = {"postStart": {"exec": {"command": ["sh", "-c", "echo why; exit 4"]}}}

        start(cluster, "unhooked", ["sleep", "60"], lifecycle=hooks)

        assert state(phase(cluster, "unhooked", "Failed"))["exitCode"] == 137
        events = cluster.do("list", EVENTS, "test")[0]
        texts = [e["message"] for e in events if about(e, "FailedPostStartHook", "unhooked")]
        assert texts == ["PostStartHook failed: why"]

    def test_grpc_probes_say_that_they_are_not_supported(self, cluster):
        probe = {"grpc": {"port": 9}, "periodSeconds": 1}

        start(cluster, "grpc", ["sleep", "60"], readinessProbe=probe)

        def told() -> list[str]:
            return [e["message"] for e in cluster.do("list", EVENTS, "test")[0] if about(e, "Unhealthy", "grpc")]

        assert "grpc probes are not supported" in cluster.wait(told)[0]
        assert cluster.get(PODS, "grpc")["status"]["containerStatuses"][0]["ready"] is False
        cluster.do("delete", PODS, "test", "grpc", {"gracePeriodSeconds": 0})


def test_nothing_remains_of_many_containers(cluster):
    process = psutil.Process(cluster.process.pid)
    cluster.submit("few", ["true"], completions=5, parallelism=5)
    cluster.finished("few")
    before = process.num_fds()

    cluster.submit("many", ["true"], completions=60, parallelism=20, container={"resources": {"limits": LIMITS}})
    cluster.finished("many", 90)
    for name in ("few", "many"):
        cluster.do("delete", JOBS, "test", name, {"propagationPolicy": "Background"})
    cluster.wait(lambda: not [p for p in cluster.pods() if p["metadata"]["name"].startswith(("few", "many"))])

    alive = {pod["metadata"]["uid"] for pod in cluster.pods()}
    folder = cluster.data_dir / "pods"
    cluster.wait(lambda: {path.name for path in folder.iterdir()} <= alive, 10)
    assert not list((cluster.data_dir / "run").glob("launch-*"))
    assert not list((cluster.data_dir / "run" / "pids").iterdir())
    groups = [path for root in ("memory", "cpu", "") for path in Path("/sys/fs/cgroup", root, "devcluster").glob("*-*")]
    assert not [path for path in groups if path.name.startswith(f"{cluster.process.pid}-")]
    assert process.num_fds() <= before + 10
    assert not process.children()


LIMITS = {"memory": "100Mi", "cpu": "1"}
