"""What a real API server answered, asked of a whole devcluster: API, controllers, scheduler and kubelet.

`CUBE_REPLAY=all` plays the slow scenarios too (about four minutes instead of one).
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from apps.devcluster.client import PODS
from tests.devcluster.process import Cluster

ROOT = Path(__file__).parents[2]
RECORDINGS = ROOT.parent / "shared" / "k8s_recordings"
DOCUMENT = ROOT / "docs" / "devcluster.md"
SCENARIOS = {
    "core": [
        "apply",
        "crd",
        "crud_configmap",
        "crud_core",
        "deletion",
        "deployment",
        "discovery",
        "job_indexed",
        "job_success",
        "job_suspend",
        "list",
        "namespace_deletion",
        "patch",
        "pod_deadline",
        "pod_env",
        "pod_exec",
        "pod_failures",
        "pod_image",
        "pod_init",
        "pod_logs",
        "pod_success",
        "quota",
        "validation",
        "watch",
    ],
    "status": ["auth"],
}
SLOW = [
    "job_backoff",
    "job_deadline_ttl",
    "job_dns",
    "job_policies",
    "pod_crashloop",
    "pod_delete",
    "pod_unschedulable",
]
# Takes all GPUs of the cluster: beside it, others' pods would wait, or be preempted.
ALONE = ["pod_preemption"]
# A claim is seen before or after it is bound; a refused Job takes the freed quota before or after it is read.
SOMETIMES = {("crud_core", 24), ("quota", 19)}
# The recorded images bring busybox's web server; the host does not.
HTTPD = """#!/usr/bin/env python3
import functools, http.server, socket, sys
options = dict(zip(sys.argv[2::2], sys.argv[3::2]))  # -f -p PORT -h FOLDER
handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=options["-h"])
http.server.ThreadingHTTPServer((socket.gethostname(), int(options["-p"])), handler).serve_forever()
"""
LEFT_OUT = re.compile(r"^\| `(\w+)` \| ([\d, ]+) \|", re.MULTILINE)
pytestmark = pytest.mark.skipif(
    not (RECORDINGS / "replay.py").exists(),
    reason="the recordings of a real API server are not on this machine",
)


def documented(scenarios: list[str]) -> set[tuple[str, int]]:
    """The steps that docs/devcluster.md leaves out, each with its reason there."""
    rows = LEFT_OUT.findall(DOCUMENT.read_text())
    return {(name, int(step)) for name, steps in rows if name in scenarios for step in steps.split(",")}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    programs = tmp_path_factory.mktemp("programs")
    (programs / "httpd").write_text(HTTPD)
    (programs / "httpd").chmod(0o755)
    running = Cluster(
        tmp_path_factory.mktemp("dc"),
        "--programs",
        str(programs),
        "--pretend-gpus",
        "8",
        "--deny-image",
        "registry.invalid/*",
        "--deny-image",
        "*no-such*",
    )
    yield running
    running.end()


@pytest.mark.parametrize("level", sorted(SCENARIOS))
def test_answers_as_recorded_but_for_the_documented_steps(cluster, tmp_path, level):
    scenarios = SCENARIOS[level] + (SLOW if level == "core" and os.environ.get("CUBE_REPLAY") == "all" else [])
    play(cluster, tmp_path, level, scenarios)


@pytest.mark.parametrize("scenario", ALONE)
def test_answers_as_recorded_where_nothing_else_may_run(cluster, tmp_path, scenario):
    # The recorded node had pods of priority 0, as its words for a pod of priority 1 show; without one they are others.
    container = {"name": "main", "image": "busybox", "command": ["sleep", "600"]}
    cluster.do("create", PODS, "default", {"metadata": {"name": "bystander"}, "spec": {"containers": [container]}})
    cluster.wait(lambda: cluster.do("get", PODS, "default", "bystander")["status"].get("phase") == "Running")

    play(cluster, tmp_path, "core", [scenario])


def play(cluster: Cluster, tmp_path: Path, level: str, scenarios: list[str]) -> None:
    """Replay, and hold the differing steps to the documented ones."""
    report = tmp_path / "report.json"
    token = (cluster.data_dir / "admin.token").read_text().strip()
    command = [sys.executable, str(RECORDINGS / "replay.py"), "--base", cluster.ready["url"], f"--token={token}"]
    command += ["--insecure", "-j", "4", "--level", level, "--json", str(report)]

    for name in scenarios:
        command += ["--only", name]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=540)  # noqa: S603 the replayer

    assert report.exists(), done.stderr
    played = json.loads(report.read_text())
    differing = {(name, s["step"]) for name, steps in played.items() for s in steps if s["differences"]}
    assert set(played) == set(scenarios)
    assert differing - SOMETIMES == documented(scenarios) - SOMETIMES, done.stdout
