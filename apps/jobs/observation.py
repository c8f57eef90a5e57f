"""Pure readings of what Kubernetes says about a Job or a pod.

Sources: https://kubernetes.io/docs/concepts/workloads/controllers/job/#terminal-job-conditions and
https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/. Only terminal conditions (Complete, Failed) end a
job: SuccessCriteriaMet and FailureTarget come before them, while pods still run.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.utils.dateparse import parse_datetime
from django.utils.translation import gettext as _

from apps.jobtemplates.documents import problems_in

from .choices import Reason
from .manifests import CONTAINER

MESSAGE_LENGTH = 2000
MOST_WRITTEN = 4096  # bytes: MaxContainerTerminationMessageLength of the kubelet
WAITING_REASONS = {
    "ErrImagePull": Reason.IMAGE,
    "ImagePullBackOff": Reason.IMAGE,
    "InvalidImageName": Reason.IMAGE,
    "ErrImageNeverPull": Reason.IMAGE,
    "ImageInspectError": Reason.IMAGE,
    "RegistryUnavailable": Reason.IMAGE,
    "SignatureValidationFailed": Reason.IMAGE,
    "CreateContainerConfigError": Reason.START_ERROR,
    "CreateContainerError": Reason.START_ERROR,
}
# Kubernetes retries an image for ever; these can never come right.
HOPELESS = frozenset({"InvalidImageName", "ErrImageNeverPull"})
ENDED_REASONS = {
    "OOMKilled": Reason.OUT_OF_MEMORY,
    "DeadlineExceeded": Reason.DEADLINE,
    "Evicted": Reason.EVICTED,
    "NodeLost": Reason.EVICTED,
    "Terminated": Reason.EVICTED,
    "NodeShutdown": Reason.EVICTED,
    "Preempting": Reason.EVICTED,
    "ContainerStatusUnknown": Reason.EVICTED,  # the node came back without the container
    "StartError": Reason.START_ERROR,
    "ContainerCannotRun": Reason.START_ERROR,
    "Completed": Reason.COMPLETED,
}
# Of several pods' reasons, the one that explains the others comes first.
WEIGHT = [Reason.OUT_OF_MEMORY, Reason.EVICTED, Reason.START_ERROR, Reason.DEADLINE, Reason.ERROR]


@dataclass(frozen=True)
class PodFacts:
    uid: str
    name: str
    attempt: int
    rank: int | None
    node: str
    phase: str
    reason: str
    message: str
    exit_code: int | None
    restarts: int
    started_at: datetime | None
    finished_at: datetime | None
    is_hopeless: bool
    written: str = ""  # to $CUBE_OUTPUTS, by the first worker, when it ended well

    @property
    def is_running(self) -> bool:
        return self.phase == "Running" and self.started_at is not None

    @property
    def has_ended(self) -> bool:
        return self.phase in {"Succeeded", "Failed"}


@dataclass(frozen=True)
class JobFacts:
    name: str
    uid: str
    attempt: int
    outcome: str  # "", "Complete" or "Failed"
    reason: str
    message: str
    is_deleting: bool


def _time(text: str | None) -> datetime | None:
    return parse_datetime(text) if text else None


def _attempt(meta: dict[str, Any]) -> int:
    """0, which no attempt has, for what is not a number: anybody may write our labels on what is theirs."""
    text = str(meta.get("labels", {}).get("cube.io/attempt", 1))
    return int(text) if text.isascii() and text.isdigit() and len(text) < 6 else 0


def job_facts(manifest: dict[str, Any]) -> JobFacts:
    meta = manifest["metadata"]
    conditions = {c["type"]: c for c in manifest.get("status", {}).get("conditions") or [] if c.get("status") == "True"}
    outcome = next((kind for kind in ("Complete", "Failed") if kind in conditions), "")
    said = conditions.get(outcome, {})
    return JobFacts(
        name=meta["name"],
        uid=meta.get("uid", ""),
        attempt=_attempt(meta),
        outcome=outcome,
        reason=said.get("reason", ""),
        message=said.get("message", ""),
        is_deleting="deletionTimestamp" in meta,
    )


def pod_facts(manifest: dict[str, Any]) -> PodFacts:
    meta, status = manifest["metadata"], manifest.get("status", {})
    main = next((c for c in status.get("containerStatuses") or [] if c["name"] == CONTAINER), {})
    state = main.get("state") or {}
    ended, running, waiting = state.get("terminated"), state.get("running"), state.get("waiting") or {}
    reason, message = _why(status, ended, waiting)
    index = meta.get("annotations", {}).get("batch.kubernetes.io/job-completion-index")
    return PodFacts(
        uid=meta["uid"],
        name=meta["name"],
        attempt=_attempt(meta),
        rank=int(index) if index is not None else None,
        node=manifest.get("spec", {}).get("nodeName", ""),
        phase=status.get("phase", "Pending"),
        reason=reason,
        message=message[:MESSAGE_LENGTH],
        exit_code=ended.get("exitCode") if ended else None,
        restarts=main.get("restartCount", 0),
        started_at=_time((ended or running or {}).get("startedAt")),
        finished_at=_time((ended or {}).get("finishedAt")),
        is_hopeless=waiting.get("reason") in HOPELESS,
        written=(ended or {}).get("message", "") if (ended or {}).get("exitCode") == 0 and index in {None, "0"} else "",
    )


def read_outputs(text: str) -> tuple[dict[str, Any] | None, str]:
    """What an attempt wrote to $CUBE_OUTPUTS, or else why it is no use.

    Kubernetes keeps the last 4,096 bytes of the file, so a text of that length has lost its beginning.
    """
    if len(text.encode(errors="replace")) >= MOST_WRITTEN:
        return None, _("It wrote more than %(size)d bytes to $CUBE_OUTPUTS.") % {"size": MOST_WRITTEN - 1}
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None, _("What it wrote to $CUBE_OUTPUTS is not JSON.")
    if not isinstance(value, dict):
        return None, _("What it wrote to $CUBE_OUTPUTS is JSON, but no object.")
    if problems := dict(problems_in(value, "outputs")):
        why = {"why": next(iter(problems.values()))}
        return None, _("What it wrote to $CUBE_OUTPUTS cannot be kept: %(why)s") % why
    return value, ""


def _why(status: dict[str, Any], ended: dict[str, Any] | None, waiting: dict[str, Any]) -> tuple[str, str]:
    """(reason, message) of a pod, the most telling source first."""
    if status.get("reason") in ENDED_REASONS:  # the pod as a whole: evicted, out of time
        return ENDED_REASONS[status["reason"]], status.get("message", "")
    if ended and ended.get("exitCode") == 0:
        return Reason.COMPLETED, ""
    conditions = {c.get("type"): c for c in status.get("conditions") or []}
    # Drained, preempted or lost with its node: the exit code would only tell of the signal.
    if (disruption := conditions.get("DisruptionTarget", {})).get("status") == "True":
        return Reason.EVICTED, disruption.get("message", "")
    if ended:
        return ENDED_REASONS.get(ended.get("reason", ""), Reason.ERROR), ended.get("message", "")
    if waiting.get("reason") in WAITING_REASONS:
        return WAITING_REASONS[waiting["reason"]], waiting.get("message", "") or waiting["reason"]
    if (scheduled := conditions.get("PodScheduled", {})).get("status") == "False":
        return Reason.UNSCHEDULABLE, scheduled.get("message", "")
    if status.get("phase") == "Failed":  # The node turned it away before any container began.
        return Reason.EVICTED, status.get("message", "") or status.get("reason", "")
    return Reason.NONE, ""


@dataclass(frozen=True)
class Failure:
    reason: str
    message: str
    exit_code: int | None


def failure_of(job: JobFacts, pods: Iterable[PodFacts]) -> Failure:
    """Why a Failed job failed: its own reason when it ran out of time, else the pod that explains it best."""
    if job.reason == "DeadlineExceeded":
        return Failure(Reason.DEADLINE, "It ran longer than its time limit.", None)
    # A pod that is evicted, or lost with its node, counts as failed for its Job before it has ended.
    failed = [pod for pod in pods if pod.phase == "Failed" or (pod.exit_code or 0) != 0 or pod.reason == Reason.EVICTED]
    if not failed and job.reason == "BackoffLimitExceeded":
        # A pod that is deleted counts as failed at once, also when its program then ends well, or never began.
        return Failure(Reason.EVICTED, "Its pod was deleted before the program had ended.", None)
    if not failed:
        return Failure(Reason.ERROR, job.message or job.reason, None)
    # Killed peers fail too, later: among equals the first to end is the cause.
    worst = min(
        failed,
        key=lambda pod: (
            WEIGHT.index(Reason(pod.reason)) if pod.reason in WEIGHT else len(WEIGHT),
            pod.finished_at.timestamp() if pod.finished_at else float("inf"),
            pod.rank or 0,
        ),
    )
    where = f"Worker {worst.rank}: " if worst.rank is not None else ""
    return Failure(worst.reason or Reason.ERROR, where + _sentence(worst), worst.exit_code)


def _sentence(pod: PodFacts) -> str:
    match pod.reason:
        case Reason.OUT_OF_MEMORY:
            return "It used more memory than its limit and was killed. Ask for more memory, or use less."
        case Reason.ERROR if pod.exit_code is not None:
            return f"The program exited with code {pod.exit_code}."
    return pod.message or str(Reason(pod.reason).label)
