"""Readings of real API answers: why a pod or job is where it is."""

import pytest

from apps.jobs.choices import Reason
from apps.jobs.observation import failure_of, job_facts, pod_facts


def pod(*, phase="Running", state=None, conditions=(), annotations=None, name="p", **status):
    return {
        "metadata": {
            "uid": f"uid-{name}",
            "name": name,
            "labels": {"cube.io/attempt": "2"},
            "annotations": annotations or {},
        },
        "spec": {"nodeName": "node-a"},
        "status": {
            "phase": phase,
            "conditions": list(conditions),
            "containerStatuses": [{"name": "main", "restartCount": 0, "state": state or {}}],
            **status,
        },
    }


def ended(code, reason="Error", at="2026-11-24T02:00:05Z", message=""):
    return {
        "terminated": {
            "exitCode": code,
            "reason": reason,
            "startedAt": "2026-11-24T02:00:00Z",
            "finishedAt": at,
            "message": message,
        }
    }


DRAINED = {"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI", "message": "evicting"}


def job(*conditions, **meta):
    found = [{"type": kind, "status": "True", "reason": reason} for kind, reason in conditions]
    return {"metadata": {"name": "j", "uid": "u", "labels": {}, **meta}, "status": {"conditions": found}}


class TestPodFacts:
    @pytest.mark.parametrize(
        ("seen", "reason", "code"),
        [
            (pod(phase="Succeeded", state=ended(0, "Completed")), Reason.COMPLETED, 0),
            (pod(phase="Failed", state=ended(3)), Reason.ERROR, 3),
            (pod(phase="Failed", state=ended(137, "OOMKilled")), Reason.OUT_OF_MEMORY, 137),
            (pod(phase="Failed", state=ended(128, "StartError")), Reason.START_ERROR, 128),
            (pod(phase="Failed", reason="Evicted", state=ended(137)), Reason.EVICTED, 137),
            (pod(phase="Failed", reason="DeadlineExceeded", state=ended(143)), Reason.DEADLINE, 143),
            (pod(phase="Failed", state=ended(137, "ContainerStatusUnknown")), Reason.EVICTED, 137),
            (pod(phase="Failed", state=ended(143), conditions=[DRAINED]), Reason.EVICTED, 143),
            (pod(phase="Succeeded", state=ended(0, "Completed"), conditions=[DRAINED]), Reason.COMPLETED, 0),
            (pod(phase="Failed", reason="UnexpectedAdmissionError", containerStatuses=None), Reason.EVICTED, None),
            (pod(phase="Pending", state={"waiting": {"reason": "ImagePullBackOff"}}), Reason.IMAGE, None),
            (pod(phase="Pending", state={"waiting": {"reason": "ContainerCreating"}}), "", None),
            (pod(state={"running": {"startedAt": "2026-11-24T02:00:00Z"}}), "", None),
        ],
    )
    def test_tells_the_reason(self, seen, reason, code):
        facts = pod_facts(seen)

        assert (facts.reason, facts.exit_code) == (reason, code)
        assert (facts.attempt, facts.node) == (2, "node-a")

    def test_repeats_the_schedulers_own_words(self):
        said = {
            "type": "PodScheduled",
            "status": "False",
            "reason": "Unschedulable",
            "message": "0/1 nodes are available",
        }

        facts = pod_facts(pod(phase="Pending", conditions=[said]))

        assert (facts.reason, facts.message) == (Reason.UNSCHEDULABLE, "0/1 nodes are available")

    def test_reads_the_rank_of_an_indexed_job(self):
        seen = pod(annotations={"batch.kubernetes.io/job-completion-index": "3"})

        assert pod_facts(seen).rank == 3

    def test_knows_what_will_never_come_right(self):
        seen = pod(phase="Pending", state={"waiting": {"reason": "InvalidImageName", "message": "couldn't parse"}})

        assert pod_facts(seen).is_hopeless


class TestJobFacts:
    @pytest.mark.parametrize(
        ("conditions", "outcome"),
        [
            ([], ""),
            ([("SuccessCriteriaMet", "CompletionsReached")], ""),
            ([("SuccessCriteriaMet", "CompletionsReached"), ("Complete", "CompletionsReached")], "Complete"),
            ([("FailureTarget", "BackoffLimitExceeded")], ""),
            ([("FailureTarget", "BackoffLimitExceeded"), ("Failed", "BackoffLimitExceeded")], "Failed"),
        ],
    )
    def test_waits_for_the_terminal_condition(self, conditions, outcome):
        assert job_facts(job(*conditions)).outcome == outcome


@pytest.mark.parametrize("label", ["", "two", "-1", "٣", "9" * 30])
def test_an_attempt_that_is_no_number_is_nobodys(label):
    stranger = pod()
    stranger["metadata"]["labels"]["cube.io/attempt"] = label

    assert pod_facts(stranger).attempt == 0


class TestFailureOf:
    failed = job_facts(job(("Failed", "BackoffLimitExceeded")))

    def test_names_the_exit_code(self):
        failure = failure_of(self.failed, [pod_facts(pod(phase="Failed", state=ended(3)))])

        assert (failure.reason, failure.exit_code) == (Reason.ERROR, 3)
        assert failure.message == "The program exited with code 3."

    def test_blames_memory_before_the_peers_it_took_down(self):
        ranks = [{"batch.kubernetes.io/job-completion-index": str(n)} for n in (0, 1)]
        first = pod(name="a", phase="Failed", state=ended(1, at="2026-11-24T02:00:04Z"), annotations=ranks[0])
        hog = pod(name="b", phase="Failed", state=ended(137, "OOMKilled"), annotations=ranks[1])

        failure = failure_of(self.failed, [pod_facts(first), pod_facts(hog)])

        assert failure.reason == Reason.OUT_OF_MEMORY
        assert failure.message.startswith("Worker 1: It used more memory than its limit")

    def test_blames_the_first_to_fail_among_equals(self):
        late = pod(name="a", phase="Failed", state=ended(143, at="2026-11-24T02:00:09Z"))
        early = pod(name="b", phase="Failed", state=ended(3, at="2026-11-24T02:00:04Z"))

        assert failure_of(self.failed, [pod_facts(late), pod_facts(early)]).exit_code == 3

    def test_a_deleted_pod_is_not_the_programs_fault(self):
        """Drained, and the program took the signal as a reason to end well."""
        done = pod(phase="Succeeded", state=ended(0, "Completed"), conditions=[DRAINED])

        failure = failure_of(self.failed, [pod_facts(done)])

        assert (failure.reason, failure.exit_code) == (Reason.EVICTED, None)
        assert failure.message == "Its pod was deleted before the program had ended."

    def test_one_that_is_evicted_counts_before_it_has_ended(self):
        leaving = pod(state={"running": {"startedAt": "2026-11-24T02:00:00Z"}}, conditions=[DRAINED])

        failure = failure_of(self.failed, [pod_facts(leaving)])

        assert (failure.reason, failure.message) == (Reason.EVICTED, "evicting")

    def test_a_deadline_is_the_jobs_own(self):
        failure = failure_of(job_facts(job(("Failed", "DeadlineExceeded"))), [])

        assert failure.reason == Reason.DEADLINE
