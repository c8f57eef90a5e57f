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

from tests.devcluster.process import Cluster

ROOT = Path(__file__).parents[2]
RECORDINGS = ROOT.parent / "shared" / "k8s_recordings"
DOCUMENT = ROOT / "docs" / "devcluster.md"
SCENARIOS = {
    "core": [
        "crud_configmap",
        "crud_core",
        "deletion",
        "discovery",
        "job_indexed",
        "job_success",
        "job_suspend",
        "list",
        "namespace_deletion",
        "patch",
        "pod_deadline",
        "pod_env",
        "pod_failures",
        "pod_image",
        "pod_init",
        "pod_logs",
        "pod_success",
        "quota",
        "validation",
        "watch",
    ],
    "status": ["apply", "auth"],
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
# A claim is seen before or after it is bound; a refused Job takes the freed quota before or after it is read.
SOMETIMES = {("crud_core", 24), ("quota", 19)}
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
    running = Cluster(
        tmp_path_factory.mktemp("dc"),
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
    report = tmp_path / "report.json"
    token = (cluster.data_dir / "admin.token").read_text().strip()
    command = [sys.executable, str(RECORDINGS / "replay.py"), "--base", cluster.ready["url"], "--token", token]
    command += ["--insecure", "-j", "4", "--level", level, "--json", str(report)]

    for name in scenarios:
        command += ["--only", name]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=540)  # noqa: S603 the replayer

    played = json.loads(report.read_text())
    differing = {(name, s["step"]) for name, steps in played.items() for s in steps if s["differences"]}
    assert set(played) == set(scenarios)
    assert differing - SOMETIMES == documented(scenarios) - SOMETIMES, done.stdout
