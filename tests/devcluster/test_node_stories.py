"""What Cube's own jobs rely on, as real processes."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from apps.devcluster.client import CLAIMS, JOBS, NAMESPACES, NODES, PODS, SERVICES, VOLUMES, Resource
from apps.devcluster.quantities import parse
from tests.devcluster.process import Cluster, state

RENDEZVOUS = """
import os, socket, sys, time
rank, port = int(os.environ["JOB_COMPLETION_INDEX"]), 29517
name = sys.argv[1]
if rank == 0:
    # Its own host name stands in its hosts file from the start; its name in the service only once it is published.
    with socket.create_server((socket.gethostname(), port)) as server:
        peer, _ = server.accept()
        print("heard", peer.recv(100).decode())
else:
    for _ in range(200):
        try:
            with socket.create_connection((name, port), 1) as connection:
                connection.sendall(f"from rank {rank} of {socket.gethostname()}".encode())
            break
        except OSError:
            time.sleep(0.1)
    else:
        sys.exit("nobody answered")
"""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """One cluster for the stories of a module, with a namespace."""
    running = Cluster(tmp_path_factory.mktemp("dc"))
    running.do("create", NAMESPACES, None, {"metadata": {"name": "test"}})
    yield running
    running.end()


def isolated(cluster: Cluster) -> bool:
    """Whether this host allows namespaces."""
    node = cluster.do("get", NODES, None, "cube-dev-node")
    return not any(c["type"] == "ContainersNotIsolated" for c in node["status"]["conditions"])


class TestJobs:
    def test_prints_lines(self, cluster):
        cluster.submit("lines", ["python", "-c", "for i in range(3): print('line', i)"])

        job = cluster.finished("lines")

        assert job["status"]["succeeded"] == 1
        assert cluster.log(cluster.pods("lines")[0]["metadata"]["name"]) == b"line 0\nline 1\nline 2\n"

    def test_ranks_find_one_another_by_name(self, cluster):
        service = {"clusterIP": "None", "publishNotReadyAddresses": True, "selector": {"job-name": "gang"}}
        body = {"metadata": {"name": "hl"}, "spec": service | {"ports": [{"port": 29517}]}}
        cluster.do("create", SERVICES, "test", body)

        gang = {"completions": 2, "parallelism": 2, "completionMode": "Indexed"}
        command = ["python", "-c", RENDEZVOUS, "gang-0.hl"]
        cluster.submit("gang", command, pod={"subdomain": "hl"}, **gang)
        job = cluster.finished("gang")

        assert job["status"].get("succeeded") == 2, [cluster.log(p["metadata"]["name"]) for p in cluster.pods("gang")]
        rank0 = next(p for p in cluster.pods("gang") if p["metadata"]["name"].startswith("gang-0-"))
        assert cluster.log(rank0["metadata"]["name"]).startswith(b"heard from rank 1")

    def test_fails_with_its_exit_code(self, cluster):
        cluster.submit("three", ["sh", "-c", "exit 3"])

        conditions = {c["type"]: c for c in cluster.finished("three")["status"]["conditions"]}

        assert conditions["Failed"]["reason"] == "BackoffLimitExceeded"
        assert list(conditions) == ["FailureTarget", "Failed"]
        ended = state(cluster.pods("three")[0])
        assert (ended["reason"], ended["exitCode"]) == ("Error", 3)

    @pytest.mark.parametrize(("size", "kept"), [(12, 12), (5000, 4096)])
    def test_the_end_of_what_it_writes_to_its_message_path_is_kept(self, cluster, size, kept):
        path = "/dev/termination-log"
        write = f"import os; open(os.environ['CUBE_OUTPUTS'], 'w').write('x' * {size - 1} + 'y')"
        said = {"terminationMessagePath": path, "terminationMessagePolicy": "FallbackToLogsOnError"}
        container = {"env": [{"name": "CUBE_OUTPUTS", "value": path}], **said}
        cluster.submit(f"message-{size}", ["python", "-c", write], container=container)

        cluster.finished(f"message-{size}")

        message = state(cluster.pods(f"message-{size}")[0])["message"]
        assert (len(message), message[-2:]) == (kept, "xy")

    def test_is_killed_above_its_memory_limit(self, cluster):
        hog = "x = []\nwhile True: x.append(bytearray(4 << 20))"
        limit = {"resources": {"limits": {"memory": "96Mi"}}}
        cluster.submit("hog", ["python", "-c", hog], container=limit)

        cluster.finished("hog")

        ended = state(cluster.pods("hog")[0])
        assert (ended["reason"], ended["exitCode"]) == ("OOMKilled", 137)

    def test_is_asked_to_end_when_deleted(self, cluster):
        code = "import signal, sys, time; signal.signal(15, lambda *_: sys.exit(0))"
        code += "; print('up', flush=True); time.sleep(60)"
        cluster.submit("sleeper", ["python", "-c", code])
        pod = cluster.wait(
            lambda: next((p for p in cluster.pods("sleeper") if p["status"]["phase"] == "Running"), None)
        )
        cluster.wait(lambda: cluster.log(pod["metadata"]["name"]) == b"up\n")

        started = time.monotonic()
        cluster.do("delete", JOBS, "test", "sleeper", {"propagationPolicy": "Background"})
        cluster.wait(lambda: not cluster.pods("sleeper"))

        assert time.monotonic() - started < 2 + 3
        assert not (cluster.data_dir / "pods" / pod["metadata"]["uid"] / "main").exists()

    def test_keeps_files_on_a_claim(self, cluster):
        claim = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
        cluster.do("create", CLAIMS, "test", {"metadata": {"name": "work"}, "spec": claim})
        mounted = {"volumeMounts": [{"name": "w", "mountPath": "/workspace"}]}
        volume = {"volumes": [{"name": "w", "persistentVolumeClaim": {"claimName": "work"}}]}

        cluster.submit("write", ["sh", "-c", "echo kept > /workspace/f"], container=dict(mounted), pod=dict(volume))
        cluster.finished("write")
        cluster.submit("read", ["sh", "-c", "cat /workspace/f"], container=dict(mounted), pod=dict(volume))
        cluster.finished("read")

        assert cluster.log(cluster.pods("read")[0]["metadata"]["name"]) == b"kept\n"
        assert not Path("/workspace/f").exists()

    def test_goes_with_its_namespace_and_its_claim(self, cluster):
        cluster.do("create", NAMESPACES, None, {"metadata": {"name": "short"}})
        claim = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
        cluster.do("create", CLAIMS, "short", {"metadata": {"name": "work"}, "spec": claim})
        mounted = {"volumeMounts": [{"name": "w", "mountPath": "/workspace"}]}
        container = {"name": "main", "image": "anything", "command": ["sleep", "600"], **mounted}
        volumes = [{"name": "w", "persistentVolumeClaim": {"claimName": "work"}}]
        spec = {"terminationGracePeriodSeconds": 1, "containers": [container], "volumes": volumes}
        cluster.do("create", PODS, "short", {"metadata": {"name": "p"}, "spec": spec})
        cluster.wait(lambda: cluster.do("get", PODS, "short", "p")["status"]["phase"] == "Running")

        cluster.do("delete", NAMESPACES, None, "short")

        cluster.wait(lambda: "short" not in [n["metadata"]["name"] for n in cluster.do("list", NAMESPACES)[0]])
        cluster.wait(
            lambda: not [v for v in cluster.do("list", VOLUMES)[0] if v["spec"]["claimRef"]["namespace"] == "short"]
        )

    def test_waits_for_its_quota(self, cluster):
        cluster.do("create", NAMESPACES, None, {"metadata": {"name": "tight"}})
        quota = Resource("resourcequotas", kind="ResourceQuota")
        cluster.do("create", quota, "tight", {"metadata": {"name": "q"}, "spec": {"hard": {"pods": "0"}}})
        container = {"name": "main", "image": "anything", "command": ["true"]}
        template = {"spec": {"restartPolicy": "Never", "containers": [container]}}
        cluster.do("create", JOBS, "tight", {"metadata": {"name": "patient"}, "spec": {"template": template}})

        status = cluster.wait(lambda: cluster.do("get", JOBS, "tight", "patient").get("status"))
        assert (status["ready"], "active" in status) == (0, False)
        cluster.do("patch", quota, "tight", "q", {"spec": {"hard": {"pods": "1"}}})
        cluster.wait(lambda: cluster.do("get", JOBS, "tight", "patient")["status"].get("succeeded") == 1)

    def test_prints_one_line_of_ten_megabytes(self, cluster):
        cluster.submit("long", ["python", "-c", "print('x' * 10_000_000); print('after')"])

        cluster.finished("long")

        log = cluster.log(cluster.pods("long")[0]["metadata"]["name"])
        assert log == b"x" * 10_000_000 + b"\nafter\n"

    def test_without_a_command_says_why_it_cannot_start(self, cluster):
        cluster.submit("silent", [])

        cluster.finished("silent")

        ended = state(cluster.pods("silent")[0])
        assert (ended["reason"], ended["exitCode"]) == ("StartError", 128)
        assert "needs a command" in ended["message"]

    def test_cannot_see_the_clusters_credentials(self, cluster):
        if not isolated(cluster):
            pytest.skip("this host allows no namespaces")
        command = f"cat {cluster.data_dir}/admin.token || ls -A {cluster.data_dir}; ls /tmp"
        cluster.submit("nosy", ["sh", "-c", command])

        cluster.finished("nosy")

        pod = cluster.pods("nosy")[0]["metadata"]["name"]
        token = (cluster.data_dir / "admin.token").read_bytes()
        assert token not in cluster.log(pod)
        assert b"objects.sqlite3" not in cluster.log(pod)


class TestSharedProcessNamespace:
    """`shareProcessNamespace: true`: a pause is process 1, the command its child."""

    @staticmethod
    def start(cluster: Cluster, name: str, command: list[str], *, shared: bool) -> str:
        """Create a pod with 30 s of grace and wait until its command has said something."""
        if not isolated(cluster):
            pytest.skip("this host allows no namespaces")
        container = {"name": "main", "image": "anything", "command": command}
        spec = {"restartPolicy": "Never", "shareProcessNamespace": shared, "containers": [container]}
        pod = cluster.do("create", PODS, "test", {"metadata": {"name": name}, "spec": spec})
        cluster.wait(lambda: cluster.get(PODS, name)["status"]["phase"] == "Running" and cluster.log(name))
        return pod["metadata"]["uid"]

    @pytest.mark.parametrize(
        "command",
        [
            ["sh", "-c", "echo up; sleep 600"],
            ["python", "-c", "import time; print('up', flush=True); time.sleep(600)"],
        ],
        ids=["sh", "python"],
    )
    def test_a_command_without_a_handler_ends_at_once(self, cluster, command):
        self.start(cluster, "polite", command, shared=True)

        started = time.monotonic()
        cluster.do("delete", PODS, "test", "polite")
        cluster.wait(lambda: cluster.get(PODS, "polite") is None)

        assert time.monotonic() - started < 1

    def test_process_1_is_shielded_without_it(self, cluster):
        self.start(cluster, "shielded", ["sh", "-c", "echo $$$$; sleep 600"], shared=False)

        cluster.do("delete", PODS, "test", "shielded")
        time.sleep(1)

        assert cluster.log("shielded") == b"1\n"
        assert cluster.get(PODS, "shielded") is not None
        cluster.do("delete", PODS, "test", "shielded", {"gracePeriodSeconds": 0})

    def test_nothing_outlives_the_command_and_its_exit_code_counts(self, cluster):
        code = "import os, sys, time; os.fork() or time.sleep(7655); print(os.getpid() > 1, flush=True); sys.exit(3)"
        pod = {"shareProcessNamespace": True}
        cluster.submit("parent", ["python", "-c", code], pod=pod)

        cluster.finished("parent")

        assert cluster.log(cluster.pods("parent")[0]["metadata"]["name"]) == b"True\n"
        assert state(cluster.pods("parent")[0])["exitCode"] == 3
        cluster.wait(lambda: not any(code in (p.info["cmdline"] or []) for p in psutil.process_iter(["cmdline"])), 2)

    def test_orphans_are_reaped(self, cluster):
        lost = "for i in 1 2 3; do (true &) ; done; sleep 0.3; cat /proc/[0-9]*/stat | grep -c ' Z ' || true"
        cluster.submit("lost", ["sh", "-c", lost], pod={"shareProcessNamespace": True})

        cluster.finished("lost")

        assert cluster.log(cluster.pods("lost")[0]["metadata"]["name"]) == b"0\n"

    def test_the_pause_is_not_measured(self, cluster):
        uid = self.start(cluster, "small", ["sh", "-c", "echo up; exec sleep 600"], shared=True)

        def memory() -> int:
            usage = cluster.do("call", "GET", "/apis/metrics.k8s.io/v1beta1/namespaces/test/pods")["items"]
            mine = [pod for pod in usage if pod["metadata"]["name"] == "small"]
            return int(parse(mine[0]["containers"][0]["usage"]["memory"])) if mine else 0

        assert uid
        assert 0 < cluster.wait(memory) < 4 << 20
        cluster.do("delete", PODS, "test", "small")


class TestTheProcess:
    @pytest.fixture
    def own(self, tmp_path):
        running = Cluster(tmp_path)
        running.do("create", NAMESPACES, None, {"metadata": {"name": "test"}})
        yield running
        running.end(signal.SIGKILL)

    @staticmethod
    def sleeper(own: Cluster) -> None:
        own.submit("sleep", ["python", "-c", "import os, time; os.fork(); time.sleep(7654)"])
        own.wait(lambda: any(p["status"]["phase"] == "Running" for p in own.pods("sleep")))
        own.wait(lambda: TestTheProcess.left() >= 2)

    @staticmethod
    def left() -> int:
        found = 0
        for process in psutil.process_iter(["cmdline"]):
            found += "import os, time; os.fork(); time.sleep(7654)" in (process.info["cmdline"] or [])
        return found

    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
    def test_leaves_no_container_behind(self, own, number):
        self.sleeper(own)
        if number == signal.SIGKILL and not isolated(own):
            pytest.skip("without namespaces grandchildren are swept at the next start only")

        own.end(number)

        own.wait(lambda: self.left() == 0, 5)

    def test_fails_pods_that_its_end_has_killed(self, own):
        self.sleeper(own)

        own.end(signal.SIGKILL)
        own.start()

        job = own.finished("sleep")
        assert {c["type"] for c in job["status"]["conditions"]} == {"FailureTarget", "Failed"}
        assert state(own.pods("sleep")[0])["exitCode"] == 137

    def test_works_without_namespaces(self, tmp_path):
        own = Cluster(tmp_path, "--no-isolation")
        try:
            own.do("create", NAMESPACES, None, {"metadata": {"name": "test"}})
            mounted = {"volumeMounts": [{"name": "w", "mountPath": "/workspace"}], "workingDir": "/workspace"}
            volume = {"volumes": [{"name": "w", "emptyDir": {}}]}
            own.submit("mapped", ["sh", "-c", "echo hi > /workspace/f; cat f"], container=mounted, pod=volume)
            own.finished("mapped")
            assert own.log(own.pods("mapped")[0]["metadata"]["name"]) == b"hi\n"
            assert not isolated(own)
        finally:
            own.end()

    def test_runs_two_hundred_pods(self, own, capsys):
        spec = {"completions": 200, "parallelism": 50}
        started = time.monotonic()
        own.submit("many", ["true"], **spec)

        job = own.finished("many", 120)

        seconds = time.monotonic() - started
        with capsys.disabled():
            sys.stdout.write(f"\n200 pods in {seconds:.1f} s: {200 / seconds:.1f} pods/s\n")
        assert job["status"]["succeeded"] == 200
        files = psutil.Process(own.process.pid).num_fds()
        assert files < 100
