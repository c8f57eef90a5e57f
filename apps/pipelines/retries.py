"""Whether a failed try is followed by another, and when. Pure: chance comes in as a function."""

from collections.abc import Callable
from dataclasses import dataclass

from apps.jobs.choices import Reason

from .graph.limits import MAX_MEMORY_FACTOR
from .graph.plan import RetryPolicy

# Not the task's fault: the node went, the pod was thrown out, the image could not be had just then.
FREE = frozenset({Reason.EVICTED, Reason.LOST, Reason.IMAGE})
# Another try would end the same, or somebody wanted it to end.
FINAL = frozenset({Reason.REFUSED, Reason.QUOTA, Reason.STOPPED})


@dataclass(frozen=True)
class Past:
    """What a task has behind it, the failure in question not counted. `budget`: retries its run may still make."""

    failures: int = 0
    free_failures: int = 0
    memory_factor: int = 1
    budget: int = 1


@dataclass(frozen=True)
class Retry:
    delay_seconds: float
    is_free: bool
    memory_factor: int


def decide(
    policy: RetryPolicy, past: Past, *, reason: str, exit_code: int | None, chance: Callable[[], float]
) -> Retry | None:
    """The next try, or None. `chance` gives a number from 0 to 1: full jitter, so that what failed together comes back
    apart."""
    if reason in FINAL or past.budget <= 0 or exit_code in policy.fatal_exit_codes:
        return None
    is_free = reason in FREE
    used, allowed = (past.free_failures, policy.free) if is_free else (past.failures, policy.count)
    if used >= allowed:
        return None
    factor = past.memory_factor
    if reason == Reason.OUT_OF_MEMORY:
        factor = min(MAX_MEMORY_FACTOR, factor * 2)
    return Retry(chance() * longest_delay(policy, used), is_free, factor)


def longest_delay(policy: RetryPolicy, used: int) -> float:
    """Seconds before the next try at most, after `used` earlier ones of the same kind."""
    return min(float(policy.cap_seconds), policy.delay_seconds * policy.factor**used)
