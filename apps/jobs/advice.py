"""What a person can do about a job that waits or failed: pure functions from a reason and Kubernetes' own words."""

import re
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from .choices import Reason

NEXT_STEPS: dict[str, Any] = {
    Reason.ERROR: gettext_lazy("The log's last lines say more."),
    Reason.DEADLINE: gettext_lazy("Clone it with a longer time limit, or make it do less."),
    Reason.IMAGE: gettext_lazy(
        "Check the image's name and tag. A private registry needs a registry secret in the project's settings."
    ),
    Reason.START_ERROR: gettext_lazy("Check the command and the working directory: both must exist in the image."),
    Reason.EVICTED: gettext_lazy("It was not the program's fault. Rerun it, or allow retries so that Cube does."),
    Reason.LOST: gettext_lazy("Rerun it."),
    Reason.QUOTA: gettext_lazy(
        "Ask for less, wait until other work has ended, or ask a quota manager for a larger quota."
    ),
}
RESOURCES = {
    "cpu": gettext_lazy("processors"),
    "memory": gettext_lazy("memory"),
    "ephemeral-storage": gettext_lazy("disk"),
    "nvidia.com/gpu": gettext_lazy("GPUs"),
}
# What the scheduler says of its nodes, k8s.io/kubernetes/pkg/scheduler/framework/plugins. Each is preceded by a count.
OBSTACLES = (
    ("didn't match Pod's node affinity/selector", gettext_lazy("not of the kind that was asked for")),
    ("untolerated taint", gettext_lazy("kept for other work")),
    ("were unschedulable", gettext_lazy("taking no new work at the moment")),
    ("Too many pods", gettext_lazy("running as many pods as it may")),
    ("didn't match pod affinity rules", gettext_lazy("not where its other workers run, beside the workspace's disk")),
    ("volume node affinity conflict", gettext_lazy("out of reach of the workspace's disk")),
)
SHORTAGE = re.compile(r"(\d+) Insufficient ([\w.\-/]+[\w])")


def next_step(reason: str, message: str) -> str:
    """One or two sentences; empty where the message says all there is."""
    if reason == Reason.UNSCHEDULABLE:
        return _scheduling(message)
    return str(NEXT_STEPS.get(reason, ""))


def _scheduling(message: str) -> str:
    """Why no node takes a pod, from the scheduler's `0/3 nodes are available: 2 Insufficient cpu, 1 node(s) …`.

    What follows on preemption is left out: it tells why nothing else was thrown out, not what is missing.
    """
    said = re.split(r"(?:\. no new claims|,? preemption:)", message.partition("nodes are available: ")[2])[0]
    causes = [
        (_("short of free %(what)s") % {"what": RESOURCES.get(resource, resource)}, int(count))
        for count, resource in SHORTAGE.findall(said)
    ]
    for words, meaning in OBSTACLES:
        if found := re.search(rf"(\d+) (?:node\(s\) )?[^,]*?{re.escape(words)}", said):
            causes.append((str(meaning), int(found[1])))
    if "unbound immediate PersistentVolumeClaims" in message:
        return _("The workspace has no disk yet. If this lasts, ask the cluster's operator for storage.")
    if not causes:
        return _("It starts as soon as a node has room.")
    told = "; ".join(f"{cause} ({_nodes(count)})" for cause, count in causes)
    return (
        _("No node can take it now: %(causes)s.") % {"causes": told}
        + " "
        + _("It starts as soon as one can. Asking for less may start it sooner.")
    )


def _nodes(count: int) -> str:
    return ngettext("%(count)d node", "%(count)d nodes", count) % {"count": count}
