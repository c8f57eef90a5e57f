# ruff: noqa: E501  the server's own words stay on one line, so that they can be searched for
"""What a real API server answered, replayed. The steps left out are listed, with a reason each, in docs/devcluster.md."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
RECORDINGS = ROOT.parent / "shared" / "k8s_recordings"
DOCUMENT = ROOT / "docs" / "devcluster.md"
# Scenarios the API server can play alone: nothing in them needs a controller, a scheduler or a kubelet.
ALONE = {
    "core": ["crud_configmap", "deletion", "discovery", "list", "patch", "validation", "watch"],
    "status": ["apply", "auth"],
}
LEFT_OUT = re.compile(r"^\| `(\w+)` \| (\d+) \| `(core|status)` \|", re.MULTILINE)
pytestmark = pytest.mark.skipif(
    not (RECORDINGS / "replay.py").exists(),
    reason="the recordings of a real API server are not on this machine",
)


def steps_of(report: dict[str, list[dict[str, Any]]]) -> list[int]:
    return [step["step"] for steps in report.values() for step in steps if step["differences"]]


def documented(scenarios: list[str]) -> set[tuple[str, int]]:
    return {(name, int(step)) for name, step, _ in LEFT_OUT.findall(DOCUMENT.read_text()) if name in scenarios}


@pytest.mark.asyncio(loop_scope="function")
@pytest.mark.parametrize("level", sorted(ALONE))
async def test_answers_as_recorded_but_for_the_documented_steps(api, call, tmp_path, level):
    report = tmp_path / "report.json"
    node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "node"}}
    await call("POST", "/api/v1/nodes", node)
    command = [sys.executable, str(RECORDINGS / "replay.py"), "--base", api.url, "--token", api.admin_token]
    command += ["--insecure", "-j", "2", "--level", level, "--json", str(report)]
    differing: set[tuple[str, int]] = set()

    for scenario in ALONE[level]:
        arguments = [*command, "--only", scenario]
        await asyncio.to_thread(subprocess.run, arguments, capture_output=True, check=False, timeout=120)
        differing |= {(scenario, step) for step in steps_of(json.loads(report.read_text()))}

    assert differing == documented(ALONE[level])
