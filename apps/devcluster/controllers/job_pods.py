"""What a Job's pods look like and how they count: pure functions over dictionaries.

Source: https://kubernetes.io/docs/concepts/workloads/controllers/job/ and the recorded behaviour of 1.36.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any

from apps.devcluster.client import Object
from apps.devcluster.controllers.owner import new_pod as pod_of
from apps.devcluster.controllers.owner import phase, terminal
from apps.devcluster.loops import seconds_of

FINALIZER = "batch.kubernetes.io/job-tracking"
INDEX_KEY = "batch.kubernetes.io/job-completion-index"
INDEX_FAILURES_KEY = "batch.kubernetes.io/job-index-failure-count"
BACK_OFF_SECONDS = (10.0, 600.0)
INDEX_ENV = {
    "name": "JOB_COMPLETION_INDEX",
    "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": f"metadata.labels['{INDEX_KEY}']"}},
}


def new_pod(job: Object, index: int | None, index_failures: int = 0) -> Object:
    """The pod to create for a Job (and for one of its indexes)."""
    name = job["metadata"]["name"]
    pod = pod_of(job, name if index is None else f"{name}-{index}")
    if index is not None:
        _set_index(pod["metadata"], pod["spec"], job, index, index_failures)
    pod["metadata"]["finalizers"] = [*(pod["metadata"].get("finalizers") or []), FINALIZER]
    return pod


def _set_index(pod_meta: Object, spec: Object, job: Object, index: int, failures: int) -> None:
    pod_meta["labels"] = (pod_meta.get("labels") or {}) | {INDEX_KEY: str(index)}
    pod_meta["annotations"] = (pod_meta.get("annotations") or {}) | {INDEX_KEY: str(index)}
    if job["spec"].get("backoffLimitPerIndex") is not None:
        pod_meta["annotations"][INDEX_FAILURES_KEY] = str(failures)
    spec.setdefault("hostname", f"{job['metadata']['name']}-{index}")
    for container in [*(spec.get("initContainers") or []), *spec["containers"]]:
        env = container.setdefault("env", [])
        if not any(item["name"] == INDEX_ENV["name"] for item in env):
            env.append(copy.deepcopy(INDEX_ENV))


# -- reading pods


def tracked(pod: Object) -> bool:
    """It still carries the tracking finalizer, so it is not counted for good."""
    return FINALIZER in (pod["metadata"].get("finalizers") or [])


def index_of(pod: Object) -> int | None:
    """Its completion index."""
    text = (pod["metadata"].get("annotations") or {}).get(INDEX_KEY, "")
    return int(text) if text.isdigit() else None


def statuses(pod: Object) -> list[Object]:
    """Statuses of all its containers."""
    status = pod.get("status") or {}
    return [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]


def finish_time(pod: Object) -> float:
    """When its last container ended (else when it was last known to change)."""
    ends = [s["state"]["terminated"].get("finishedAt") for s in statuses(pod) if "terminated" in s.get("state", {})]
    times = [seconds_of(end) for end in ends if end]
    fallback = pod["metadata"].get("deletionTimestamp") or pod["metadata"]["creationTimestamp"]
    return max(times) if times else seconds_of(fallback)


def restarts(pods: Iterable[Object]) -> int:
    """All restarts of containers that still run or wait."""
    return sum(s.get("restartCount", 0) for pod in pods if not terminal(pod) for s in statuses(pod))


def back_off(pods: list[Object]) -> float:
    """The moment before which no replacement is made: 10 s doubling with each failure since the last
    success.
    """
    last_success = max((finish_time(pod) for pod in pods if phase(pod) == "Succeeded"), default=0.0)
    failures = [finish_time(pod) for pod in pods if phase(pod) == "Failed" and finish_time(pod) > last_success]
    if not failures:
        return 0.0
    delay = min(BACK_OFF_SECONDS[1], BACK_OFF_SECONDS[0] * 2 ** min(len(failures) - 1, 10))
    return max(failures) + delay


# -- sets of indexes as text: "0,2-4"


def parse_indexes(text: str | None, completions: int) -> set[int]:
    """The indexes of an interval list below `completions`."""
    found: set[int] = set()
    for part in filter(None, (text or "").split(",")):
        first, _, last = part.partition("-")
        found |= set(range(int(first), min(int(last or first), completions - 1) + 1))
    return found


def format_indexes(indexes: set[int]) -> str:
    """The shortest form: two neighbours as `0,1`, more as `0-2`."""
    runs: list[list[int]] = []
    for index in sorted(indexes):
        if runs and runs[-1][-1] == index - 1:
            runs[-1].append(index)
        else:
            runs.append([index])
    return ",".join(f"{run[0]}-{run[-1]}" if len(run) > 2 else ",".join(map(str, run)) for run in runs)


# -- podFailurePolicy


def failure_rule(job: Object, pod: Object) -> tuple[str, str] | None:
    """The action of the first matching rule of `podFailurePolicy`, and the message of `FailJob`."""
    for number, rule in enumerate((job["spec"].get("podFailurePolicy") or {}).get("rules") or []):
        cause = _exit_match(rule.get("onExitCodes"), pod) or _condition_match(rule.get("onPodConditions"), pod)
        if cause:
            return rule["action"], f"{cause} matching {rule['action']} rule at index {number}"
    return None


def _exit_match(wanted: dict[str, Any] | None, pod: Object) -> str | None:
    for status in statuses(pod) if wanted else ():
        ended = status.get("state", {}).get("terminated")
        name = (wanted or {}).get("containerName")
        if not ended or ended["exitCode"] == 0 or (name and name != status["name"]):
            continue
        if (ended["exitCode"] in wanted["values"]) == (wanted["operator"] == "In"):  # type: ignore[index]
            where = f"{pod['metadata']['namespace']}/{pod['metadata']['name']}"
            return f"Container {status['name']} for pod {where} failed with exit code {ended['exitCode']}"
    return None


def _condition_match(wanted: list[dict[str, Any]] | None, pod: Object) -> str | None:
    conditions = (pod.get("status") or {}).get("conditions") or []
    for pattern in wanted or []:
        for item in conditions:
            if item["type"] == pattern["type"] and item["status"] == pattern.get("status", "True"):
                where = f"{pod['metadata']['namespace']}/{pod['metadata']['name']}"
                return f"Pod {where} has condition {item['type']}"
    return None
