"""The node side's pure parts."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from decimal import Decimal

import psutil
import pytest

from apps.devcluster import quantities
from apps.devcluster.controllers import job_pods
from apps.devcluster.controllers.job_plan import plan
from apps.devcluster.kubelet import hosts, process
from apps.devcluster.kubelet.env import expand
from apps.devcluster.kubelet.logs import LogFile, LogOptions, drop_logs, read_log
from apps.devcluster.kubelet.runner import ImageError, check_image
from apps.devcluster.kubelet.sandbox import ContainerSpec, Mount, Sandbox
from apps.devcluster.kubelet.status import full_image_name
from apps.devcluster.kubelet.usage import measure
from apps.devcluster.nodes import Node, parse_node, pretend_gpus

HOST = {"cpu": "2", "memory": "8Gi"}


class TestQuantities:
    @pytest.mark.parametrize(
        ("text", "number"),
        [
            ("250m", "0.25"),
            ("64Mi", "67108864"),
            ("2Ki", "2048"),
            ("1.5", "1.5"),
            ("1e3", "1000"),
            ("3G", "3000000000"),
        ],
    )
    def test_are_exact_numbers(self, text, number):
        assert quantities.parse(text) == Decimal(number)

    @pytest.mark.parametrize("text", ["", "x", "1Zi", "--1"])
    def test_refuse_what_is_none(self, text):
        with pytest.raises(ValueError, match="quantities must match"):
            quantities.parse(text)


class TestNodes:
    def test_take_what_is_not_declared_from_the_host(self):
        node = parse_node("name=a,cpu=8,nvidia.com/gpu=4,label=gpu-type:A100", HOST)

        resources = {"cpu": "8", "memory": "8Gi", "nvidia.com/gpu": "4"}
        assert node == Node("a", resources, {"gpu-type": "A100"})

    def test_pretend_gpus_where_none_are_declared(self):
        nodes = pretend_gpus([Node("a", HOST), Node("b", HOST | {"nvidia.com/gpu": "1"})], "4:H100")

        assert [node.resources["nvidia.com/gpu"] for node in nodes] == ["4", "1"]

    def test_need_a_name(self):
        with pytest.raises(ValueError, match="names no node"):
            parse_node("cpu=8", HOST)


class TestJobPlan:
    @staticmethod
    def job(**spec):
        template = {
            "metadata": {"labels": {"a": "b"}},
            "spec": {"restartPolicy": "Never", "containers": [{}]},
        }
        base = {"completions": 2, "parallelism": 2, "backoffLimit": 1, "template": template}
        return {"metadata": {"name": "j", "namespace": "n", "uid": "u"}, "spec": base | spec}

    @staticmethod
    def pod(uid, phase, **annotations):
        meta = {"name": uid, "namespace": "n", "uid": uid, "creationTimestamp": "2026-01-01T00:00:00Z"}
        meta |= {"finalizers": [job_pods.FINALIZER], "annotations": annotations}
        return {"metadata": meta, "spec": {}, "status": {"phase": phase}}

    def test_creates_what_is_missing(self):
        todo = plan(self.job(), [self.pod("1", "Running")], time.time())

        assert len(todo.create) == 1
        assert todo.status["active"] == 2

    def test_counts_before_it_concludes(self):
        pods = [self.pod("1", "Succeeded"), self.pod("2", "Succeeded")]

        todo = plan(self.job(), pods, time.time())

        assert todo.interim["uncountedTerminatedPods"] == {"succeeded": ["1", "2"]}
        assert [c["type"] for c in todo.interim["conditions"]] == ["SuccessCriteriaMet"]
        assert [c["type"] for c in todo.status["conditions"]] == ["SuccessCriteriaMet", "Complete"]
        assert todo.status["succeeded"] == 2

    def test_waits_before_it_replaces_a_failed_pod(self):
        now = job_pods.finish_time(self.pod("1", "Failed"))

        todo = plan(self.job(completions=1, parallelism=1), [self.pod("1", "Failed")], now)

        assert todo.create == []
        assert todo.look_again == 10

    def test_gives_free_indexes_to_new_pods(self):
        job = self.job(completionMode="Indexed", completions=3, parallelism=3)

        todo = plan(job, [self.pod("1", "Running", **{job_pods.INDEX_KEY: "1"})], time.time())

        assert [index for index, _ in todo.create] == [0, 2]
        pod = job_pods.new_pod(job, 2)
        assert pod["spec"]["hostname"] == "j-2"
        assert pod["spec"]["containers"][0]["env"] == [job_pods.INDEX_ENV]

    def test_lists_indexes_in_the_shortest_form(self):
        assert job_pods.format_indexes({0, 1, 3, 5, 6, 7}) == "0,1,3,5-7"
        assert job_pods.parse_indexes("0,1,3,5-7", 7) == {0, 1, 3, 5, 6}


class TestContainers:
    def test_expand_known_names_only(self):
        assert expand("$(A)/$(B)/$$(A)/$A", {"A": "a"}) == "a/$(B)/$(A)/$A"

    def test_paths_are_mapped_at_their_boundaries(self, tmp_path):
        box = Sandbox(isolated=False, user_namespace=False, data_dir=tmp_path)
        argv = ["sh", "/job/x", "/workspace/f:/job", "/a/job", "http://j-0.hl:1"]
        mounts = [Mount("/data/w", "/job"), Mount("/data/s", "/workspace")]
        spec = ContainerSpec(argv, {}, "/job", "h", "/t", mounts)

        adapted, _ = box.adapt(spec, {"j-0.hl": "127.0.0.1"})

        expected = ["sh", "/data/w/x", "/data/s/f:/data/w", "/a/job", "http://127.0.0.1:1"]
        assert adapted.argv == expected
        assert adapted.cwd == "/data/w"

    def test_images_are_named_as_the_runtime_names_them(self):
        assert full_image_name("busybox:1") == "docker.io/library/busybox:1"
        assert full_image_name("ghcr.io/a/b") == "ghcr.io/a/b:latest"

    @pytest.mark.parametrize(("image", "reason"), [("UPPER/Case:1", "InvalidImageName"), ("no/1", "ErrImagePull")])
    def test_images_can_be_missing(self, image, reason):
        check_image("registry.example.com:5000/a/b:1", "Always", ("no/*",))
        with pytest.raises(ImageError) as refusal:
            check_image(image, "Always", ("no/*",))
        assert refusal.value.reason == reason

    def test_find_services_and_published_peers(self):
        endpoint = {"addresses": ["127.64.0.9"], "conditions": {"ready": True}, "hostname": "j-0"}
        hidden = {"addresses": ["127.64.0.8"], "conditions": {"ready": False}}
        slices = [
            {"metadata": {"namespace": "n", "labels": {hosts.SERVICE_LABEL: name}}, "endpoints": [endpoint, hidden]}
            for name in ("hl", "web")
        ]
        services = [
            {"metadata": {"namespace": "n", "name": "hl"}, "spec": {"clusterIP": "None"}},
            {"metadata": {"namespace": "n", "name": "web"}, "spec": {"clusterIP": "127.96.3.4"}},
        ]
        long = ["n", "n.svc", "n.svc.cluster.local"]

        inside, outside = (hosts.addresses(services, slices, namespace) for namespace in ("n", "other"))

        assert outside == [
            ("127.64.0.9", [f"j-0.hl.{end}" for end in long] + [f"hl.{end}" for end in long]),
            ("127.96.3.4", [f"web.{end}" for end in long]),
        ]
        assert [(address, names[0]) for address, names in inside] == [("127.64.0.9", "j-0.hl"), ("127.96.3.4", "web")]

    def test_use_is_what_psutil_reads(self):
        code = "x = bytearray(64 << 20); import time; t = time.time()\n"
        code += "while time.time() - t < 1: pass\ntime.sleep(9)"
        process = subprocess.Popen([sys.executable, "-c", code])  # noqa: S603 a process to measure
        try:
            time.sleep(1.5)
            cpu, memory = measure(process.pid)
            reading = psutil.Process(process.pid)
            assert memory == pytest.approx(reading.memory_info().rss, rel=0.05)
            assert cpu == pytest.approx(sum(reading.cpu_times()[:2]), rel=0.05)
        finally:
            process.kill()
            process.wait()


class TestLogs:
    @staticmethod
    def read(path, **options):
        async def collect():
            return b"".join([block async for block in read_log(path, LogOptions(**options))])

        return asyncio.run(collect())

    @pytest.fixture
    def path(self, tmp_path):
        async def write():
            log = LogFile(tmp_path / "0.log")
            log.feed(b"stdout", b"one\ntw")
            log.feed(b"stderr", b"err\n")
            log.feed(b"stdout", b"o\n" + b"x" * 40_000 + b"\nrest")
            log.close()

        asyncio.run(write())
        return tmp_path / "0.log"

    def test_come_back_as_they_were_written(self, path):
        assert self.read(path) == b"one\nerr\ntwo\n" + b"x" * 40_000 + b"\nrest"

    def test_end_where_asked(self, path):
        assert self.read(path, limit_bytes=5) == b"one\ne"
        assert self.read(path, tail_lines=0) == b""
        assert self.read(path, tail_lines=2) == b"x" * (40_000 % (16 * 1024)) + b"\nrest"
        assert self.read(path, since=time.time_ns() + 10**9) == b""

    def test_carry_their_times(self, path):
        first = self.read(path, timestamps=True).split(b"\n")[0]

        stamp, text = first.split(b" ")
        assert text == b"one"
        assert len(stamp) == len("2026-01-01T00:00:00.000000000Z")

    def test_followed_to_the_end_of_the_container(self, tmp_path):
        async def story():
            log = LogFile(tmp_path / "live.log")
            log.feed(b"stdout", b"a\n")

            async def follow():
                return [b async for b in read_log(log.path, LogOptions(follow=True), log)]

            task = asyncio.create_task(follow())
            await asyncio.sleep(0.05)
            log.feed(b"stdout", b"b\n")
            await asyncio.sleep(0.05)
            log.close()
            return await asyncio.wait_for(task, 5)

        assert asyncio.run(story()) == [b"a\n", b"b\n"]

    def test_followed_across_a_rotation(self, tmp_path):
        async def story():
            log = LogFile(tmp_path / "0.log")
            log.feed(b"stdout", b"a\n")

            async def follow():
                return [b async for b in read_log(log.path, LogOptions(follow=True), log)]

            task = asyncio.create_task(follow())
            await asyncio.sleep(0.05)
            for text in (b"b\n", b"c\n", b"d\n"):
                log.feed(b"stdout", text)
                log.rotate(0, 2)
                await asyncio.sleep(0.05)
            log.close()
            return await asyncio.wait_for(task, 5)

        assert b"".join(asyncio.run(story())) == b"a\nb\nc\nd\n"
        assert sorted(path.name for path in tmp_path.iterdir()) == ["0.log", "0.log.000003"]

    def test_of_runs_before_the_previous_one_go(self, tmp_path):
        for name in ("0.log", "0.log.000001", "1.log", "2.log", "termination-log"):
            (tmp_path / name).touch()

        drop_logs(tmp_path, before=1)

        assert sorted(path.name for path in tmp_path.iterdir()) == ["1.log", "2.log", "termination-log"]


class TestProcess:
    def test_gives_all_output_to_one_who_takes_it_slowly(self, tmp_path, monkeypatch):
        monkeypatch.setattr(process, "DRAIN_SECONDS", 0.05)
        taken = bytearray()

        async def slowly(_: bytes, data: bytes) -> None:
            await asyncio.sleep(0.2)
            taken.extend(data)

        async def story() -> int:
            box = Sandbox(isolated=False, user_namespace=False, data_dir=tmp_path)
            command = process.Process(box, tmp_path)
            code = "import sys; sys.stdout.write('x' * 900_000); sys.exit(5)"
            await command.start(ContainerSpec([sys.executable, "-c", code], {}, "/", "h", "/t"))
            try:
                return await command.pump(slowly)
            finally:
                await command.discard()

        assert asyncio.run(story()) == 5
        assert len(taken) == 900_000
