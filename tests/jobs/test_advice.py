"""Every reason that a person can do something about says what; the scheduler's words are recorded ones."""

import pytest

from apps.jobs.advice import next_step
from apps.jobs.choices import Reason

TAIL = " no new claims to deallocate, preemption: 0/3 nodes are available: 3 Preemption is not helpful for scheduling."
THEN = " It starts as soon as one can. Asking for less may start it sooner."


@pytest.mark.parametrize(
    ("message", "told"),
    [
        (
            f"0/1 nodes are available: 1 Insufficient nvidia.com/gpu.{TAIL}",
            f"No node can take it now: short of free GPUs (1 node).{THEN}",
        ),
        (
            f"0/3 nodes are available: 1 Insufficient memory, 2 Insufficient cpu.{TAIL}",
            "No node can take it now: short of free memory (1 node); short of free processors (2 nodes)." + THEN,
        ),
        (
            f"0/2 nodes are available: 1 node(s) didn't match Pod's node affinity/selector, 1 Insufficient cpu.{TAIL}",
            "No node can take it now: short of free processors (1 node); "
            f"not of the kind that was asked for (1 node).{THEN}",
        ),
        (
            "0/4 nodes are available: 3 node(s) had untolerated taint(s), 1 node(s) were unschedulable." + TAIL,
            "No node can take it now: kept for other work (3 nodes); taking no new work at the moment (1 node)." + THEN,
        ),
        (
            f"0/2 nodes are available: 1 Insufficient cpu, 1 node(s) didn't match pod affinity rules.{TAIL}",
            "No node can take it now: short of free processors (1 node); "
            f"not where its other workers run, beside the workspace's disk (1 node).{THEN}",
        ),
        ("0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims." + TAIL, None),
        ("something the scheduler never said before", "It starts as soon as a node has room."),
        ("", "It starts as soon as a node has room."),
    ],
)
def test_says_in_words_why_no_node_takes_a_pod(message, told):
    unbound = "The workspace has no disk yet. If this lasts, ask the cluster's operator for storage."

    assert next_step(Reason.UNSCHEDULABLE, message) == (told or unbound)


def test_a_recorded_message_about_preemption_names_what_is_missing_once():
    said = (
        "0/1 nodes are available: 1 Insufficient nvidia.com/gpu. no new claims to deallocate, "
        "preemption: not eligible due to a terminating pod on the nominated node."
    )

    assert next_step(Reason.UNSCHEDULABLE, said).count("GPUs") == 1


@pytest.mark.parametrize("reason", [Reason.IMAGE, Reason.EVICTED, Reason.QUOTA, Reason.DEADLINE, Reason.START_ERROR])
def test_every_failure_a_person_can_mend_says_how(reason):
    assert next_step(reason, "whatever").endswith(".")


def test_says_nothing_where_nothing_is_to_be_done():
    assert next_step(Reason.COMPLETED, "") == ""
