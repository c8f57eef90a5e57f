"""What follows when tasks end: pure functions of the graph, the tallies and what ended. No rows, no clock.

Every rule is a function of how many of the needed tasks ended how, and gives the same in whatever order they end: a
skip that a later failure could turn into a failure waits for it.
"""

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum, StrEnum
from typing import Protocol

from .choices import TASK_FINISHED, TaskStatus, Trigger


class Outcome(StrEnum):
    """How an ended task counts for those that need it."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    SKIPPED = "skipped"


class Verdict(Enum):
    WAIT = TaskStatus.WAITING
    START = TaskStatus.READY
    SKIP = TaskStatus.SKIPPED
    GIVE_UP = TaskStatus.UPSTREAM_FAILED


class Graph(Protocol):
    """What the engine asks of a plan: `order` has each task after those it needs."""

    order: list[str]
    followers: dict[str, list[str]]

    def trigger_of(self, key: str) -> str: ...


@dataclass(frozen=True)
class Tally:
    """How the tasks that one task needs have ended so far."""

    total: int = 0
    succeeded: int = 0
    failed: int = 0
    skipped: int = 0

    @property
    def is_complete(self) -> bool:
        return self.succeeded + self.failed + self.skipped >= self.total

    def plus(self, outcome: Outcome) -> "Tally":
        return replace(self, **{str(outcome): getattr(self, outcome) + 1})


@dataclass(frozen=True)
class State:
    status: str = TaskStatus.WAITING
    is_ignored: bool = False
    tally: Tally = field(default_factory=Tally)


@dataclass
class Advance:
    """`decided`: tasks that were waiting and wait no longer. `tallies`: those that changed. `frontier`: ended tasks
    some of whose followers were not among the states; ask again with them."""

    decided: dict[str, Verdict] = field(default_factory=dict)
    tallies: dict[str, Tally] = field(default_factory=dict)
    frontier: list[tuple[str, Outcome]] = field(default_factory=list)


def outcome_of(status: str, is_ignored: bool = False) -> Outcome:
    if is_ignored or status == TaskStatus.SUCCEEDED:
        return Outcome.SUCCEEDED
    return Outcome.SKIPPED if status == TaskStatus.SKIPPED else Outcome.FAILED


def judge(trigger: str, tally: Tally) -> Verdict:
    """What a waiting task with this rule does, given how those it needs have ended."""
    decided, done = _rule(trigger, tally), tally.is_complete
    if decided is not Verdict.WAIT or not done:
        return decided
    return Verdict.GIVE_UP if tally.failed and trigger in _BROKEN_BY_FAILURE else Verdict.SKIP


_BROKEN_BY_FAILURE = frozenset(
    {Trigger.ALL_SUCCESS, Trigger.ONE_SUCCESS, Trigger.NONE_FAILED, Trigger.NONE_FAILED_MIN_ONE_SUCCESS}
)


def _rule(trigger: str, tally: Tally) -> Verdict:
    """What is certain by now; WAIT when nothing is, or, of a complete tally, when the rule does not hold."""
    done = tally.is_complete
    match trigger:
        case Trigger.ALWAYS:
            return Verdict.START
        case Trigger.ALL_DONE:
            return _when(done)
        case Trigger.ONE_SUCCESS:
            return _when(tally.succeeded > 0 or not tally.total)
        case Trigger.ONE_FAILED:
            return _when(tally.failed > 0)
        case Trigger.ALL_FAILED:
            if tally.succeeded or tally.skipped:
                return Verdict.SKIP
            return _when(done and tally.failed > 0)
        case Trigger.NONE_FAILED | Trigger.NONE_FAILED_MIN_ONE_SUCCESS | Trigger.ALL_SUCCESS if tally.failed:
            return Verdict.GIVE_UP
        case Trigger.NONE_FAILED:
            return _when(done)
        case Trigger.NONE_FAILED_MIN_ONE_SUCCESS:
            return _when(done and (tally.succeeded > 0 or not tally.total))
    return _when(done and tally.succeeded == tally.total)


def _when(holds: bool) -> Verdict:
    return Verdict.START if holds else Verdict.WAIT


def advance(graph: Graph, states: Mapping[str, State], ended: Iterable[tuple[str, Outcome]]) -> Advance:
    """Tell followers of what has just ended; what thereby ends without a try is told on. Costs its neighbours only."""
    result, waiting = Advance(), deque(ended)
    while waiting:
        key, outcome = waiting.popleft()
        if any(follower not in states for follower in graph.followers[key]):
            result.frontier.append((key, outcome))
            continue
        for follower in graph.followers[key]:
            state = states[follower]
            tally = result.tallies[follower] = result.tallies.get(follower, state.tally).plus(outcome)
            if state.status != TaskStatus.WAITING or follower in result.decided:
                continue
            verdict = judge(graph.trigger_of(follower), tally)
            if verdict is not Verdict.WAIT:
                _decide(result, waiting, follower, verdict)
    return result


def _decide(result: Advance, waiting: deque[tuple[str, Outcome]], key: str, verdict: Verdict) -> None:
    result.decided[key] = verdict
    if verdict is not Verdict.START:
        waiting.append((key, outcome_of(verdict.value)))


def settle(graph: Graph, states: Mapping[str, State]) -> Advance:
    """The same from scratch: tallies of all tasks from their statuses, then a verdict for each that waits.

    What a run begins with, what follows when a person changed something, and how the sweep repairs.
    """
    tallies = {key: Tally() for key in graph.order}
    for key in graph.order:
        for follower in graph.followers[key]:
            tallies[follower] = replace(tallies[follower], total=tallies[follower].total + 1)
    result = Advance(tallies=tallies)
    for key in graph.order:
        state, status = states[key], states[key].status
        if status == TaskStatus.WAITING:
            verdict = judge(graph.trigger_of(key), tallies[key])
            if verdict is not Verdict.WAIT:
                result.decided[key] = verdict
                status = verdict.value
        if status in TASK_FINISHED:
            for follower in graph.followers[key]:
                tallies[follower] = tallies[follower].plus(outcome_of(status, state.is_ignored))
    return result
