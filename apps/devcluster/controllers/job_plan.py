"""What to do about a Job: a pure function from the Job, its pods and the time to a plan.

It follows syncJob of the real controller in its order of questions: how did pods end, does that or the
deadline fail the Job, did it reach its goal, is it suspended, and how many pods are missing or too many.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field

from apps.devcluster.client import Object
from apps.devcluster.controllers import job_pods as pods_of
from apps.devcluster.controllers.owner import active, age, condition, leaving, phase, ready, terminal
from apps.devcluster.loops import rfc3339, seconds_of


@dataclass
class Plan:
    """What the loop has to do, in this order."""

    create: list[tuple[int | None, int]] = field(default_factory=list)  # (index, failures of the index so far)
    delete: list[Object] = field(default_factory=list)
    release_deleted: bool = False  # Deleted pods lose their finalizer first, so they do not count as failures.
    interim: Object | None = None
    untrack: list[Object] = field(default_factory=list)
    status: Object = field(default_factory=dict)
    events: list[tuple[str, str, bool]] = field(default_factory=list)
    look_again: float | None = None


def finished(job: Object) -> Object | None:
    """The condition that says the Job is over."""
    status = job.get("status") or {}
    return condition(status, "Complete") or condition(status, "Failed")


class Planner:
    """One look at one Job."""

    def __init__(self, job: Object, pods: list[Object], at: float) -> None:
        self.job, self.spec, self.at = job, job["spec"], at
        self.pods = pods
        self.status: Object = copy.deepcopy(job.get("status") or {})
        self.indexed = self.spec.get("completionMode") == "Indexed"
        self.completions: int | None = self.spec.get("completions")
        self.plan = Plan(status=self.status)
        # Once the criteria are met, pods that are deleted for it are neither successes nor failures any more.
        self.won = condition(self.status, "SuccessCriteriaMet") is not None
        self.active = [pod for pod in pods if active(pod)]
        uncounted = self.status.get("uncountedTerminatedPods") or {}
        self.new_succeeded = self._uncounted(uncounted.get("succeeded"), lambda pod: phase(pod) == "Succeeded")
        self.new_failed = self._uncounted(uncounted.get("failed"), self._failed)
        self.done_indexes = self._done_indexes()
        self.failed_indexes = self._failed_indexes()

    # -- reading

    def _failed(self, pod: Object) -> bool:
        """One that is deleted before it could fail counts too, unless replacements wait for real failures."""
        waits = self.spec.get("podReplacementPolicy") == "Failed"
        return phase(pod) == "Failed" or (leaving(pod) and not terminal(pod) and not waits)

    def _counts(self, pod: Object | None) -> bool:
        if pod is None:
            return True
        return self._rule(pod) != "Ignore" and not (self.won and leaving(pod))

    def _uncounted(self, known: list[str] | None, test: Callable[[Object], bool]) -> dict[str, Object | None]:
        found = {pod["metadata"]["uid"]: pod for pod in self.pods if pods_of.tracked(pod) and test(pod)}
        return dict.fromkeys(known or []) | found

    def _done_indexes(self) -> set[int]:
        if not self.indexed:
            return set()
        done = pods_of.parse_indexes(self.status.get("completedIndexes"), self.completions or 0)
        won = [pod for pod in self.pods if phase(pod) == "Succeeded" and self._counts(pod)]
        found = {index for index in map(pods_of.index_of, won) if index is not None}
        return done | {index for index in found if index < (self.completions or 0)}

    def index_failures(self, index: int) -> int:
        """How often an index failed, ignored failures left out."""
        failures = 0
        for pod in self.pods:
            if pods_of.index_of(pod) == index and self._failed(pod) and self._rule(pod) != "Ignore":
                text = (pod["metadata"].get("annotations") or {}).get(pods_of.INDEX_FAILURES_KEY, "0")
                failures = max(failures, int(text) + 1)
        return failures

    def _matched(self, pod: Object) -> tuple[str, str] | None:
        return pods_of.failure_rule(self.job, pod) if phase(pod) == "Failed" else None

    def _rule(self, pod: Object) -> str | None:
        return (self._matched(pod) or (None,))[0]

    def _failed_indexes(self) -> set[int]:
        limit = self.spec.get("backoffLimitPerIndex")
        if limit is None:
            return set()
        failed = pods_of.parse_indexes(self.status.get("failedIndexes"), self.completions or 0)
        for pod in self.pods:
            index = pods_of.index_of(pod)
            if index is None or index in self.done_indexes or not self._failed(pod):
                continue
            if self._rule(pod) == "FailIndex" or self.index_failures(index) > limit:
                failed.add(index)
        return failed

    # -- deciding

    def decide(self) -> Plan:
        """The whole plan."""
        if not self.status.get("startTime") and not self.spec.get("suspend"):
            self.status["startTime"] = rfc3339(self.at)
        verdict = condition(self.status, "FailureTarget") or condition(self.status, "SuccessCriteriaMet")
        if verdict is None:
            verdict = self._failure() or self._success_policy()
        if verdict is not None:
            self.plan.delete = list(self.active)
            self.active = []
        elif not self.job["metadata"].get("deletionTimestamp"):
            self._suspend_or_resume()
            self._scale()
            verdict = self._goal()
        self._report(verdict)
        return self.plan

    def _verdict(self, kind: str, reason: str, message: str) -> Object:
        at = rfc3339(self.at)
        base = {"type": kind, "status": "True", "lastProbeTime": at, "lastTransitionTime": at}
        return base | {"reason": reason, "message": message}

    def _failure(self) -> Object | None:
        for rule in map(self._matched, self.pods):
            if rule and rule[0] == "FailJob":
                return self._verdict("FailureTarget", "PodFailurePolicy", rule[1])
        limit, policy = self.spec.get("backoffLimit", 6), self.spec["template"]["spec"].get("restartPolicy")
        counted = [pod for pod in self.new_failed.values() if self._counts(pod)]
        failed = self.status.get("failed", 0) + len(counted)
        restarts = pods_of.restarts(self.pods) if policy == "OnFailure" else 0
        if failed > limit or (restarts > 0 and restarts >= limit):
            text = "Job has reached the specified backoff limit"
            return self._verdict("FailureTarget", "BackoffLimitExceeded", text)
        return self._deadline() or self._index_failure()

    def _deadline(self) -> Object | None:
        seconds, start = self.spec.get("activeDeadlineSeconds"), self.status.get("startTime")
        if seconds is None or not start or self.spec.get("suspend"):
            return None
        left = seconds_of(start) + seconds - self.at
        if left <= 0:
            text = "Job was active longer than specified deadline"
            return self._verdict("FailureTarget", "DeadlineExceeded", text)
        self._look_again(left)
        return None

    def _index_failure(self) -> Object | None:
        if not self.failed_indexes:
            return None
        most = self.spec.get("maxFailedIndexes")
        if most is not None and len(self.failed_indexes) > most:
            text = "Job has exceeded the specified maximal number of failed indexes"
            return self._verdict("FailureTarget", "MaxFailedIndexesExceeded", text)
        if len(self.failed_indexes) + len(self.done_indexes) >= (self.completions or 0):
            return self._verdict("FailureTarget", "FailedIndexes", "Job has failed indexes")
        return None

    def _success_policy(self) -> Object | None:
        for number, rule in enumerate((self.spec.get("successPolicy") or {}).get("rules") or []):
            done = self.done_indexes
            if rule.get("succeededIndexes"):
                wanted = pods_of.parse_indexes(rule["succeededIndexes"], self.completions or 0)
                done = done & wanted
                needed = rule.get("succeededCount") or len(wanted)
            else:
                needed = rule.get("succeededCount") or 0
            if needed and len(done) >= needed:
                text = f"Matched rules at index {number}"
                return self._verdict("SuccessCriteriaMet", "SuccessPolicy", text)
        return None

    def _succeeded_count(self) -> int:
        return len(self.done_indexes) if self.indexed else self.status.get("succeeded", 0) + len(self.new_succeeded)

    def _goal(self) -> Object | None:
        count = self._succeeded_count()
        if self.completions is None:
            reached = count > 0 and not self.active and not self.plan.create
        else:
            reached = count >= self.completions and not self.active
        if not reached or self.spec.get("suspend"):
            return None
        text = "Reached expected number of succeeded pods"
        return self._verdict("SuccessCriteriaMet", "CompletionsReached", text)

    def _suspend_or_resume(self) -> None:
        suspend = bool(self.spec.get("suspend"))
        conditions = self.status.setdefault("conditions", [])
        known = next((item for item in conditions if item["type"] == "Suspended"), None)
        if not suspend and known is None:
            return
        if known is None or (known["status"] == "True") != suspend:
            reason, text = ("JobSuspended", "Job suspended") if suspend else ("JobResumed", "Job resumed")
            fresh = self._verdict("Suspended", reason, text) | {"status": str(suspend)}
            conditions[:] = [item for item in conditions if item["type"] != "Suspended"]
            conditions.insert(0, fresh)
            self.plan.events.append((reason.removeprefix("Job"), text, False))
            if not suspend:
                self.status["startTime"] = rfc3339(self.at)
        if suspend:
            self.status.pop("startTime", None)

    def _scale(self) -> None:
        if self.spec.get("suspend"):
            self._remove(list(self.active))
            return
        wanted = self.spec.get("parallelism", 1)
        done = self._succeeded_count()
        if self.completions is None:
            wanted = len(self.active) if done else wanted
        else:
            wanted = min(max(0, self.completions - done - len(self.failed_indexes)), wanted)
        surplus = [pod for pod in self.active if self._stray(pod)]
        keep = sorted((p for p in self.active if p not in surplus), key=lambda p: (not ready(p), age(p)))
        self._remove(surplus + keep[wanted:])
        waiting = 0
        if self.spec.get("podReplacementPolicy") == "Failed":
            waiting = sum(leaving(pod) and not terminal(pod) for pod in self.pods)
        missing = wanted - len(self.active) - waiting
        if missing > 0:
            self._create(missing)

    def _stray(self, pod: Object) -> bool:
        """An active pod of an index that is done, failed, out of range, or held by an older pod."""
        index = pods_of.index_of(pod)
        if not self.indexed or index is None:
            return False
        if index >= (self.completions or 0) or index in self.done_indexes or index in self.failed_indexes:
            return True
        twins = [other for other in self.active if pods_of.index_of(other) == index]
        return pod is not min(twins, key=age)

    def _remove(self, pods: list[Object]) -> None:
        self.plan.delete, self.plan.release_deleted = pods, True
        self.active = [pod for pod in self.active if pod not in pods]

    def _create(self, missing: int) -> None:
        per_index = self.spec.get("backoffLimitPerIndex") is not None
        if not per_index and (wait := pods_of.back_off(self.pods) - self.at) > 0:
            self._look_again(wait)
            return
        if not self.indexed:
            self.plan.create = [(None, 0)] * missing
            return
        busy = {pods_of.index_of(pod) for pod in self.active} | self.done_indexes | self.failed_indexes
        for index in range(self.completions or 0):
            if index in busy or len(self.plan.create) >= missing:
                continue
            mine = [pod for pod in self.pods if pods_of.index_of(pod) == index]
            if per_index and (wait := pods_of.back_off(mine) - self.at) > 0:
                self._look_again(wait)
                continue
            self.plan.create.append((index, self.index_failures(index) if per_index else 0))

    def _look_again(self, seconds: float) -> None:
        earliest = self.plan.look_again
        self.plan.look_again = seconds if earliest is None else min(earliest, seconds)

    # -- reporting

    def _report(self, verdict: Object | None) -> None:
        status, plan = self.status, self.plan
        released = plan.delete if plan.release_deleted else []
        failing = [] if plan.release_deleted else plan.delete
        for pod in failing:  # Deleted because the Job is over: they count as failures unless they succeed.
            if self.spec.get("podReplacementPolicy") != "Failed" and verdict and verdict["type"] == "FailureTarget":
                self.new_failed[pod["metadata"]["uid"]] = pod
        going = [pod for pod in self.pods if leaving(pod) and not terminal(pod)]
        terminating = {pod["metadata"]["uid"] for pod in [*going, *plan.delete]}
        status["ready"] = sum(map(ready, self.active))
        status["terminating"] = len(terminating)
        set_count(status, "active", len(self.active) + len(plan.create))
        if self.indexed:
            status["succeeded"] = len(self.done_indexes)
            set_count(status, "succeeded", status["succeeded"])
            set_count(status, "completedIndexes", pods_of.format_indexes(self.done_indexes))
        if self.spec.get("backoffLimitPerIndex") is not None:
            status["failedIndexes"] = pods_of.format_indexes(self.failed_indexes)
        if verdict and not condition(status, verdict["type"]):
            status.setdefault("conditions", []).append(verdict)
        if not status.get("conditions"):
            status.pop("conditions", None)
        self._count(released)
        self._conclude(verdict, len(terminating))

    def _count(self, released: list[Object]) -> None:
        status, plan = self.status, self.plan
        gone = {pod["metadata"]["uid"] for pod in released}
        succeeded = [] if self.indexed else [uid for uid, pod in self.new_succeeded.items() if self._counts(pod)]
        failed = [uid for uid, pod in self.new_failed.items() if uid not in gone and self._counts(pod)]
        uncounted = {"succeeded": succeeded, "failed": failed}
        status["uncountedTerminatedPods"] = {key: uids for key, uids in uncounted.items() if uids}
        plan.interim = copy.deepcopy(status)
        everyone = [*self.new_succeeded.values(), *self.new_failed.values()]
        plan.untrack = [pod for pod in everyone if pod is not None and pod["metadata"]["uid"] not in gone]
        status["uncountedTerminatedPods"] = {}
        if not self.indexed:
            set_count(status, "succeeded", status.get("succeeded", 0) + len(succeeded))
        set_count(status, "failed", status.get("failed", 0) + len(failed))

    def _conclude(self, verdict: Object | None, terminating: int) -> None:
        """The last condition waits until the last pod has ended."""
        if verdict is None or terminating or self.active:
            return
        kind = "Complete" if verdict["type"] == "SuccessCriteriaMet" else "Failed"
        self.status["conditions"].append(self._verdict(kind, verdict["reason"], verdict["message"]))
        if kind == "Complete":
            self.status["completionTime"] = rfc3339(self.at)
            self.plan.events.append(("Completed", "Job completed", False))
        else:
            self.plan.events.append((verdict["reason"], verdict["message"], True))


def set_count(status: Object, key: str, value: int | str) -> None:
    """Counts of zero are left out, as the real controller's are."""
    if value:
        status[key] = value
    else:
        status.pop(key, None)


def plan(job: Object, pods: list[Object], at: float) -> Plan:
    """What to do about `job`, whose pods are `pods`, at the time `at`."""
    return Planner(job, pods, at).decide()
