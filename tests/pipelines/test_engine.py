"""The rules of triggers, each against its words, and all of them against an interpreter of its own."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apps.pipelines import choices
from apps.pipelines.choices import TaskStatus, Trigger
from apps.pipelines.engine import Outcome, State, Tally, Verdict, advance, judge, outcome_of, settle
from apps.pipelines.graph.plan import Plan

S, F, K = Outcome.SUCCEEDED, Outcome.FAILED, Outcome.SKIPPED
START, SKIP, GIVE_UP, WAIT = Verdict.START, Verdict.SKIP, Verdict.GIVE_UP, Verdict.WAIT


def test_every_status_is_in_one_set():
    for everything, *sets in (
        (choices.RunStatus, choices.RUN_WAITING, choices.RUN_ACTIVE, choices.RUN_FINISHED),
        (TaskStatus, choices.TASK_WAITING, choices.TASK_ACTIVE, choices.TASK_FINISHED),
    ):
        assert sorted(status for part in sets for status in part) == sorted(everything)
    assert choices.RUN_NEXT.keys() == set(choices.RunStatus)


def tally(text, total=3):
    """`"sf"`: of three needed tasks one succeeded, one failed, one has not ended."""
    return Tally(total, text.count("s"), text.count("f"), text.count("k"))


@pytest.mark.parametrize(
    ("rule", "ended", "verdict"),
    [
        ("all_success", "ss", WAIT), ("all_success", "sss", START), ("all_success", "f", GIVE_UP),
        ("all_success", "k", WAIT), ("all_success", "ssk", SKIP), ("all_success", "kkf", GIVE_UP),
        ("all_done", "sf", WAIT), ("all_done", "sfk", START), ("all_done", "kkk", START),
        ("one_success", "fk", WAIT), ("one_success", "s", START), ("one_success", "ffk", GIVE_UP),
        ("one_success", "kkk", SKIP),
        ("one_failed", "ss", WAIT), ("one_failed", "f", START), ("one_failed", "ssk", SKIP),
        ("none_failed", "sk", WAIT), ("none_failed", "skk", START), ("none_failed", "kkk", START),
        ("none_failed", "f", GIVE_UP),
        ("none_failed_min_one_success", "kkk", SKIP), ("none_failed_min_one_success", "kks", START),
        ("none_failed_min_one_success", "kf", GIVE_UP), ("none_failed_min_one_success", "s", WAIT),
        ("all_failed", "ff", WAIT), ("all_failed", "fff", START), ("all_failed", "s", SKIP), ("all_failed", "k", SKIP),
        ("always", "", START),
    ],
)  # fmt: skip
def test_a_rule(rule, ended, verdict):
    assert judge(rule, tally(ended)) is verdict


@pytest.mark.parametrize("rule", Trigger)
def test_a_task_that_needs_nothing(rule):
    expected = SKIP if rule in {Trigger.ONE_FAILED, Trigger.ALL_FAILED} else START

    assert judge(rule, Tally()) is expected


def plan_of(tasks):
    return Plan({"tasks": {key: {"template": "echo@1", **task} for key, task in tasks.items()}})


@st.composite
def graphs(draw):
    """Up to a dozen tasks, each needing some before it, and how each would end if it started."""
    count = draw(st.integers(1, 12))
    tasks, fates = {}, {}
    for number in range(count):
        needs = draw(st.lists(st.integers(0, number - 1), unique=True, max_size=4)) if number else []
        tasks[f"t{number}"] = {
            "needs": [f"t{n}" for n in needs],
            "trigger": draw(st.sampled_from(list(Trigger))),
        }
        fates[f"t{number}"] = draw(st.sampled_from([TaskStatus.SUCCEEDED, TaskStatus.FAILED, TaskStatus.SKIPPED]))
    return tasks, fates


def interpreted(tasks, fates):
    """The reference: tasks in order, each judged once all before it have ended, in the words of the documentation."""
    ended = {}
    for key, task in tasks.items():
        before = [ended[other] for other in task["needs"]]
        good = [s for s in before if s == TaskStatus.SUCCEEDED]
        bad = [s for s in before if s in {TaskStatus.FAILED, TaskStatus.UPSTREAM_FAILED}]
        starts = {
            Trigger.ALL_SUCCESS: len(good) == len(before),
            Trigger.ALL_DONE: True,
            Trigger.ONE_SUCCESS: bool(good) or not before,
            Trigger.ONE_FAILED: bool(bad),
            Trigger.NONE_FAILED: not bad,
            Trigger.NONE_FAILED_MIN_ONE_SUCCESS: not bad and (bool(good) or not before),
            Trigger.ALL_FAILED: bool(before) and len(bad) == len(before),
            Trigger.ALWAYS: True,
        }[task["trigger"]]
        broken = bool(bad) and task["trigger"] not in {Trigger.ALL_FAILED, Trigger.ONE_FAILED}
        ended[key] = fates[key] if starts else TaskStatus.UPSTREAM_FAILED if broken else TaskStatus.SKIPPED
    return ended


def driven(tasks, fates, order):
    """The engine: tasks end one by one in the order that chance gives, neighbours alone are told."""
    plan = plan_of(tasks)
    states = {key: State() for key in tasks}
    running = []

    def take(result):
        for key, found in result.tallies.items():
            states[key] = State(states[key].status, False, found)
        for key, verdict in result.decided.items():
            states[key] = State(verdict.value, False, states[key].tally)
            if verdict is START:
                running.append(key)

    take(settle(plan, states))
    while running:
        key = running.pop(order(len(running)))
        states[key] = State(fates[key], False, states[key].tally)
        near = {other: states[other] for other in plan.followers[key]}
        result = advance(plan, near, [(key, outcome_of(fates[key]))])
        take(result)
        if result.frontier:
            take(advance(plan, states, result.frontier))
    return {key: state.status for key, state in states.items()}


@settings(max_examples=150, deadline=None)
@given(graphs(), st.randoms(use_true_random=False))
def test_whatever_the_order_all_end_as_the_reference_says(graph, dice):
    tasks, fates = graph

    assert driven(tasks, fates, dice.randrange) == interpreted(tasks, fates)


@settings(max_examples=60, deadline=None)
@given(graphs())
def test_judging_from_scratch_finds_nothing_to_do_at_the_end(graph):
    tasks, fates = graph
    ended = interpreted(tasks, fates)

    result = settle(plan_of(tasks), {key: State(status) for key, status in ended.items()})

    assert result.decided == {}


def test_an_ignored_failure_counts_as_success():
    assert outcome_of(TaskStatus.FAILED, is_ignored=True) is S
    assert outcome_of(TaskStatus.STOPPED) is F
    assert outcome_of(TaskStatus.SKIPPED) is K


def test_costs_neighbours_only():
    """Of a fan of thousands, one ending looks at the one task behind it."""
    plan = plan_of({f"m{n}": {} for n in range(3000)} | {"last": {"needs": [f"m{n}" for n in range(3000)]}})

    result = advance(plan, {"last": State(tally=Tally(3000))}, [("m7", S)])

    assert result.tallies == {"last": Tally(3000, succeeded=1)}
    assert (result.decided, result.frontier) == ({}, [])
