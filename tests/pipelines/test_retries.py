import pytest

from apps.jobs.choices import Reason
from apps.pipelines.graph.plan import RetryPolicy
from apps.pipelines.retries import Past, Retry, decide, longest_delay

POLICY = RetryPolicy(count=2, delay_seconds=30, factor=2, cap_seconds=100, fatal_exit_codes=frozenset({2}))


def ask(past=None, *, reason=Reason.ERROR, exit_code=1, chance=1.0, policy=POLICY):
    return decide(policy, past or Past(), reason=reason, exit_code=exit_code, chance=lambda: chance)


@pytest.mark.parametrize(("used", "seconds"), [(0, 30), (1, 60), (2, 100), (50, 100)])
def test_waits_longer_each_time_up_to_the_cap(used, seconds):
    assert longest_delay(POLICY, used) == seconds


@pytest.mark.parametrize(("chance", "seconds"), [(0.0, 0.0), (0.5, 15.0), (1.0, 30.0)])
def test_jitter_is_full(chance, seconds):
    assert ask(chance=chance) == Retry(seconds, is_free=False, memory_factor=1)


@pytest.mark.parametrize(
    "refused",
    [
        {"past": Past(failures=2)},
        {"exit_code": 2},
        {"reason": Reason.REFUSED},
        {"reason": Reason.QUOTA},
        {"reason": Reason.STOPPED},
        {"past": Past(budget=0)},
        {"past": Past(free_failures=5), "reason": Reason.EVICTED},
    ],
)
def test_ends_where_another_try_is_no_use(refused):
    assert ask(**refused) is None


@pytest.mark.parametrize("reason", [Reason.EVICTED, Reason.LOST, Reason.IMAGE])
def test_what_was_not_its_fault_is_free(reason):
    assert ask(Past(failures=2, free_failures=4), reason=reason) == Retry(100, is_free=True, memory_factor=1)


@pytest.mark.parametrize(("before", "after"), [(1, 2), (2, 4), (4, 4)])
def test_out_of_memory_doubles_it_up_to_four_times(before, after):
    assert ask(Past(memory_factor=before), reason=Reason.OUT_OF_MEMORY, exit_code=137).memory_factor == after
