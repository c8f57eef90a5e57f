"""Graphs as documents: rings, order, text and back, differences."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apps.core.errors import InvalidInput
from apps.pipelines.graph import documents, judging, topology
from apps.pipelines.graph.diff import Change, diff

from .conftest import graph_of


@st.composite
def acyclic(draw):
    """Tasks in an order nobody sees in their names, each needing some before it."""
    names = draw(st.permutations([f"t{n}" for n in range(draw(st.integers(1, 10)))]))
    needs = {}
    for place, name in enumerate(names):
        needs[name] = draw(st.lists(st.sampled_from(names[:place]), unique=True, max_size=3)) if place else []
    return dict(sorted(needs.items()))


class TestTopology:
    @settings(max_examples=100, deadline=None)
    @given(acyclic())
    def test_without_a_ring_everything_has_its_place(self, needs):
        order = topology.in_order(needs)

        assert topology.ring(needs) == []
        assert sorted(order) == sorted(needs)
        assert all(order.index(other) < order.index(key) for key, before in needs.items() for other in before)

    @settings(max_examples=100, deadline=None)
    @given(acyclic(), st.data())
    def test_a_ring_is_found_and_is_one(self, needs, data):
        length = data.draw(st.integers(1, min(4, len(needs))))
        members = data.draw(st.permutations(sorted(needs)))[:length]
        for key, other in zip(members, [*members[1:], members[0]], strict=True):
            needs[key] = sorted({*needs[key], other})

        turn = topology.ring(needs)

        assert turn[0] == turn[-1]
        assert len(set(turn)) == len(turn) - 1
        assert all(before in needs[key] for before, key in itertools.pairwise(turn))

    def test_names_the_ring_alone(self):
        needs = {"a": ["c"], "b": ["a"], "c": ["b"], "d": ["c"], "e": []}

        assert topology.ring(needs) == ["a", "b", "c", "a"]
        assert topology.ring({"a": ["a"]}) == ["a", "a"]

    def test_a_long_chain_costs_no_stack(self):
        needs = {f"t{n}": [f"t{n - 1}"] if n else [] for n in range(5000)}

        assert len(topology.in_order(needs)) == 5000
        assert topology.ancestors(needs)["t4999"].bit_count() == 4999
        assert len(topology.behind(["t0"], topology.followers(needs))) == 4999


class TestDocuments:
    GRAPH = {
        "params": {"type": "object", "additionalProperties": False, "properties": {}},
        "tasks": {
            "b": {"template": "echo@1", "needs": ["a"], "params": {"text": "yes\nno: #\n"}, "for_each": ["1", 2, None]},
            "a": {"template": "echo@1", "when": "{{ 1 }}", "position": {"x": 1, "y": -2.5}},
        },
    }

    def test_text_reads_back_as_the_same(self):
        text = documents.write_graph(self.GRAPH)

        assert documents.read_graph(text) == self.GRAPH
        assert text.index("  a:") < text.index("  b:")

    def test_the_digest_knows_no_order(self):
        turned = {"tasks": dict(reversed(self.GRAPH["tasks"].items())), "params": self.GRAPH["params"]}

        assert documents.digest(turned) == documents.digest(self.GRAPH)

    @pytest.mark.parametrize(
        "text",
        ["tasks: &a {b: *a}", "a: 1\na: 2", "!!python/object:os.system {}", "tasks: [", "x" * 600_000, "\x00"],
    )
    def test_refuses_what_is_no_plain_document(self, text):
        with pytest.raises(InvalidInput) as refusal:
            documents.read_graph(text)

        assert list(refusal.value.fields) == ["graph"]


class TestOutline:
    def test_leaves_out_what_holds_anyway(self):
        graph = judging.outline(graph_of(a={"needs": [], "trigger": "all_success", "priority": 0, "skip": False}))

        assert graph["tasks"]["a"] == {"template": "echo"}

    @pytest.mark.parametrize(
        ("task", "field"),
        [
            ({"title": "x" * 101}, "title"),
            ({"trigger": "sometimes"}, "trigger"),
            ({"for_each": {}}, "for_each"),
            ({"for_each": [0] * 1001}, "for_each"),
            ({"retries": {"factor": 0.5}}, "retries"),
            ({"retries": {"colour": 1}}, "retries"),
            ({"timeout_seconds": 0}, "timeout_seconds"),
            ({"timeout_seconds": True}, "timeout_seconds"),
            ({"priority": 101}, "priority"),
            ({"position": {"x": 1}}, "position"),
            ({"needs": ["a", "a"]}, "needs"),
            ({"needs": "a"}, "needs"),
            ({"skip": "yes"}, "skip"),
            ({"template": "a@b@c"}, "template"),
            ({"params": []}, "params"),
        ],
    )
    def test_refuses_a_bad_field(self, task, field):
        with pytest.raises(InvalidInput) as refusal:
            judging.outline(graph_of(a=task))

        assert f"tasks.a.{field}" in refusal.value.fields

    def test_refuses_a_document_of_more_than_a_mebibyte(self):
        with pytest.raises(InvalidInput) as refusal:
            judging.outline(graph_of(**{f"t{n}": {"params": {"text": "x" * 60_000}} for n in range(20)}))

        assert list(refusal.value.fields) == ["graph"]

    def test_does_not_repeat_a_million_problems(self):
        with pytest.raises(InvalidInput) as refusal:
            judging.outline(graph_of(**{f"t{n}": {"colour": n} for n in range(500)}))

        assert len(refusal.value.fields) == 50


class TestDiff:
    def test_names_tasks_and_fields(self):
        before = graph_of(a={"params": {"text": "x"}, "position": {"x": 1, "y": 1}}, b={}, c={})
        after = {**graph_of(a={"params": {"text": "y", "n": 1}}, b={}, d={}), "parallelism": 2}

        found = diff(before, after)

        assert (found.added, found.removed, found.changed) == (["d"], ["c"], ["a"])
        assert found.changes == [
            Change("parallelism", None, 2),
            Change("tasks.a.params.n", None, 1),
            Change("tasks.a.params.text", "x", "y"),
        ]
