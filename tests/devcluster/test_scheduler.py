"""Where a pod may go, who must go for it, and the words: exact, since Cube shows them to people."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import pytest

from apps.devcluster.affinity import why_apart
from apps.devcluster.nodes import Node, parse_node, pretend_gpus
from apps.devcluster.placement import Refusal, Room, requests, summary, why_not
from apps.devcluster.preemption import NEVER, TERMINATING, Plan, not_eligible, plan
from apps.devcluster.preferences import wishes
from apps.devcluster.spread import why_uneven

GENERATIONS = itertools.count(1)


def node(name: str = "a", *, gpus: int = 4, labels: dict[str, str] | None = None, **spec: Any) -> dict[str, Any]:
    allocatable = {"cpu": "2", "pods": "10", "nvidia.com/gpu": str(gpus)}
    return {"metadata": {"name": name, "labels": labels or {}}, "spec": spec, "status": {"allocatable": allocatable}}


def pod(
    name: str = "p", *, gpus: int = 0, cpu: str = "0", labels: dict[str, str] | None = None, **spec: Any
) -> dict[str, Any]:
    container = {"name": "c", "resources": {"requests": {"cpu": cpu, "nvidia.com/gpu": str(gpus)}}}
    meta: dict[str, Any] = {"name": name, "uid": name, "namespace": "test", "labels": labels or {}}
    meta["creationTimestamp"] = "2026-01-01T00:00:00Z"
    meta["generation"] = next(GENERATIONS)  # what a pod requests is kept by uid and generation
    return {"metadata": meta, "spec": {"containers": [container], **spec}, "status": {}}


def room(*pods: dict[str, Any], **options: Any) -> Room:
    return Room(node(**options), {item["metadata"]["uid"]: item for item in pods})


def making_room(wanted: dict[str, Any], *rooms: Room, budgets: Sequence[dict[str, Any]] = ()) -> Plan | str:
    refusals = {each.name: why_not(wanted, each) for each in rooms}
    return plan(wanted, rooms, refusals, lambda trial: why_not(wanted, trial), budgets)


def budget(allowed: int, *, namespace: str = "test", disrupted: Sequence[str] = (), **labels: str) -> dict[str, Any]:
    status = {"disruptionsAllowed": allowed, "disruptedPods": dict.fromkeys(disrupted, "2026-01-01T00:00:00Z")}
    selector = {"matchLabels": labels} if labels else {}
    return {"metadata": {"name": "b", "namespace": namespace}, "spec": {"selector": selector}, "status": status}


def names(found: Plan | str) -> list[str]:
    assert isinstance(found, Plan)
    return [victim["metadata"]["name"] for victim in found.victims]


class TestDeclaredNodes:
    def test_a_node_is_what_its_words_say(self):
        words = (
            "name=a,cpu=8,memory=32Gi,nvidia.com/gpu=4,label=gpu-type:A100,taint=gpu=yes:NoSchedule,taint=x:NoExecute"
        )

        assert parse_node(words, {"cpu": "2", "pods": "9"}) == Node(
            "a",
            {"cpu": "8", "pods": "9", "memory": "32Gi", "nvidia.com/gpu": "4"},
            {"gpu-type": "A100"},
            [{"key": "gpu", "effect": "NoSchedule", "value": "yes"}, {"key": "x", "effect": "NoExecute"}],
        )

    @pytest.mark.parametrize(
        ("words", "complaint"),
        [
            ("cpu=8", "names no node"),
            ("name=a,cpu", "'cpu' in --node is not key=value"),
            ("name=a,taint=gpu=yes", "taint=gpu=yes in --node is not key=value:Effect"),
            ("name=a,taint=gpu=yes:Never", "with one of NoSchedule, PreferNoSchedule, NoExecute"),
        ],
    )
    def test_words_that_say_nothing_are_refused(self, words, complaint):
        with pytest.raises(ValueError, match=complaint):
            parse_node(words, {})

    def test_pretended_gpus_spare_nodes_that_declare_theirs(self):
        declared = [parse_node("name=a,taint=x:NoExecute", {}), parse_node("name=b,nvidia.com/gpu=1", {})]

        assert pretend_gpus(declared, "8:H100") == [
            Node(
                "a",
                {"nvidia.com/gpu": "8"},
                {"nvidia.com/gpu.product": "H100", "gpu-type": "H100"},
                [{"key": "x", "effect": "NoExecute"}],
            ),
            declared[1],
        ]


class TestPlacement:
    def test_what_never_fits_is_told_from_what_would_fit_with_fewer_pods(self):
        full = room(pod("other", gpus=4))

        assert why_not(pod(cpu="3", gpus=8), full) == Refusal(["Insufficient cpu", "Insufficient nvidia.com/gpu"])
        assert why_not(pod(gpus=4), full) == Refusal(["Insufficient nvidia.com/gpu"], curable=True)
        assert why_not(pod(cpu="2"), full) is None

    def test_taints_need_tolerations(self):
        tainted = room(taints=[{"key": "gpu", "value": "yes", "effect": "NoSchedule"}])

        assert why_not(pod(), tainted) == Refusal(["node(s) had untolerated taint(s)"])
        assert why_not(pod(tolerations=[{"key": "gpu", "operator": "Exists"}]), tainted) is None
        assert why_not(pod(tolerations=[{"key": "gpu", "value": "no"}]), tainted) is not None

    def test_cordoned_nodes_take_no_pods(self):
        assert why_not(pod(), room(unschedulable=True)) == Refusal(["node(s) were unschedulable"])

    @pytest.mark.parametrize(
        ("operator", "values", "fits"), [("In", ["A100"], True), ("NotIn", ["A100"], False), ("Exists", None, True)]
    )
    def test_node_affinity_is_kept(self, operator, values, fits):
        expression = {"key": "gpu-type", "operator": operator, "values": values}
        required = {"nodeSelectorTerms": [{"matchExpressions": [expression]}]}
        affinity = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}}

        refusal = why_not(pod(affinity=affinity), room(labels={"gpu-type": "A100"}))

        assert refusal == (None if fits else Refusal(["node(s) didn't match Pod's node affinity/selector"]))

    def test_the_hungriest_init_container_counts(self):
        init = {"name": "i", "resources": {"requests": {"cpu": "2"}}}

        assert requests(pod(cpu="500m", initContainers=[init]))["cpu"] == 2

    def test_the_message_counts_nodes_per_reason(self):
        assert summary({"Insufficient cpu": 2, "node(s) were unschedulable": 1}, 3) == (
            "0/3 nodes are available: 1 node(s) were unschedulable, 2 Insufficient cpu."
        )
        assert summary({}, 0) == "no nodes available to schedule pods"


class TestPodAffinity:
    TERM = {"topologyKey": "zone", "labelSelector": {"matchLabels": {"app": "train"}}}

    def refusals(self, placed: dict[str, Any], wanted: dict[str, Any]) -> list[Refusal | None]:
        places = {"a": "x", "b": "x", "c": "y"}
        rooms = {name: room(name=name, labels={"zone": zone}) for name, zone in places.items()}
        rooms["a"].add(placed)
        return [why_apart(wanted, each, rooms, {}) for each in rooms.values()]

    def wishing(self, kind: str, name: str = "p") -> dict[str, Any]:
        wish = {kind: {"requiredDuringSchedulingIgnoredDuringExecution": [self.TERM]}}
        return pod(name, labels={"app": "train"}, affinity=wish)

    def test_anti_affinity_closes_the_whole_zone(self):
        apart = Refusal(["node(s) didn't match pod anti-affinity rules"], curable=True)
        placed = pod("first", labels={"app": "train"})

        assert self.refusals(placed, self.wishing("podAntiAffinity")) == [apart, apart, None]

    def test_anti_affinity_of_a_placed_pod_holds_for_newcomers(self):
        apart = Refusal(["node(s) didn't satisfy existing pods anti-affinity rules"], curable=True)
        placed = self.wishing("podAntiAffinity", "first")

        assert self.refusals(placed, pod(labels={"app": "train"})) == [apart, apart, None]
        assert self.refusals(placed, pod(labels={"app": "other"})) == [None, None, None]

    def test_affinity_opens_only_the_zone(self):
        alone = Refusal(["node(s) didn't match pod affinity rules"])
        placed = pod("first", labels={"app": "train"})

        assert self.refusals(placed, self.wishing("podAffinity")) == [None, None, alone]

    def test_the_first_of_its_kind_may_start_anywhere(self):
        assert self.refusals(pod("other"), self.wishing("podAffinity")) == [None, None, None]


def places(**zones: str) -> dict[str, Room]:
    return {name: room(name=name, labels={"zone": zone} if zone else {}) for name, zone in zones.items()}


class TestSpread:
    UNEVEN = "node(s) didn't match pod topology spread constraints"

    def wanting(self, name: str = "p", *, when: str = "DoNotSchedule", **more: Any) -> dict[str, Any]:
        rule = {"topologyKey": "zone", "maxSkew": 1, "whenUnsatisfiable": when}
        rule["labelSelector"] = {"matchLabels": {"app": "train"}}
        return pod(name, labels={"app": "train"}, topologySpreadConstraints=[rule | more])

    def refusals(self, wanted: dict[str, Any], *placed: str, **zones: str) -> list[Refusal | None]:
        rooms = places(**zones)
        for number, name in enumerate(placed):
            rooms[name].add(pod(str(number), labels={"app": "train"}))
        return [why_uneven(wanted, each, rooms) for each in rooms.values()]

    def test_a_zone_that_is_ahead_is_closed(self):
        uneven = Refusal([self.UNEVEN], curable=True)

        assert self.refusals(self.wanting(), "a", a="x", b="x", c="y") == [uneven, uneven, None]
        assert self.refusals(self.wanting(maxSkew=2), "a", a="x", b="x", c="y") == [None, None, None]
        assert self.refusals(self.wanting(), "a", "c", a="x", b="x", c="y") == [None, None, None]

    def test_a_node_without_the_label_is_no_place(self):
        missing = Refusal([f"{self.UNEVEN} (missing required label)"])

        assert self.refusals(self.wanting(), "b", a="x", b="") == [None, missing]

    def test_too_few_places_count_as_an_empty_one(self):
        uneven = Refusal([self.UNEVEN], curable=True)

        assert self.refusals(self.wanting(minDomains=2), "a", a="x") == [uneven]

    def test_pods_of_other_revisions_do_not_count(self):
        wanted = self.wanting(matchLabelKeys=["pod-template-hash"])
        wanted["metadata"]["labels"]["pod-template-hash"] = "new"

        assert self.refusals(wanted, "a", a="x", c="y") == [None, None]

    def test_nodes_the_pod_may_not_have_are_no_places(self):
        wanted = self.wanting()
        wanted["spec"]["nodeSelector"] = {"zone": "x"}

        assert self.refusals(wanted, "a", a="x", c="y") == [None, None]

    def test_where_it_is_only_a_wish_nobody_is_refused(self):
        wanted, rooms = self.wanting(when="ScheduleAnyway"), places(a="x", b="y", c="")
        rooms["a"].add(pod("first", labels={"app": "train"}))

        assert [why_uneven(wanted, each, rooms) for each in rooms.values()] == [None, None, None]
        assert wishes(wanted, list(rooms.values()), rooms, {}) == {"a": 100.0, "b": 200.0, "c": 0.0}


class TestPreferences:
    def marks(self, wanted: dict[str, Any], rooms: dict[str, Room]) -> dict[str, float]:
        return wishes(wanted, list(rooms.values()), rooms, {})

    def test_without_wishes_all_nodes_are_alike(self):
        assert self.marks(pod(), places(a="x", b="y")) == {"a": 0, "b": 0}

    def test_node_affinity_counts_by_its_weights(self):
        wished = [
            {"weight": weight, "preference": {"matchExpressions": [{"key": "zone", "operator": "In", "values": zones}]}}
            for weight, zones in ((10, ["x", "y"]), (30, ["y"]))
        ]
        wanted = pod(affinity={"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": wished}})

        assert self.marks(wanted, places(a="x", b="y", c="z")) == {"a": 50.0, "b": 200.0, "c": 0.0}

    @pytest.mark.parametrize(("kind", "marks"), [("podAffinity", (200.0, 0.0)), ("podAntiAffinity", (0.0, 200.0))])
    def test_pods_are_sought_and_avoided(self, kind, marks):
        term = {"topologyKey": "zone", "labelSelector": {"matchLabels": {"app": "cache"}}}
        wished = [{"weight": 7, "podAffinityTerm": term}]
        rooms = places(a="x", b="y")
        rooms["a"].add(pod("cache", labels={"app": "cache"}))

        wanted = pod(affinity={kind: {"preferredDuringSchedulingIgnoredDuringExecution": wished}})

        assert tuple(self.marks(wanted, rooms).values()) == marks

    def test_nodes_that_would_rather_not_come_last(self):
        shy = room(name="b", taints=[{"key": "gpu", "effect": "PreferNoSchedule"}])
        rooms = places(a="") | {"b": shy}

        assert self.marks(pod(), rooms) == {"a": 300.0, "b": 0.0}
        assert self.marks(pod(tolerations=[{"key": "gpu", "operator": "Exists"}]), rooms) == {"a": 0, "b": 0}


class TestPreemption:
    def test_takes_as_few_and_as_unimportant_pods_as_possible(self):
        busy = room(pod("low", gpus=2, priority=1), pod("middle", gpus=1, priority=5), pod("high", gpus=1, priority=9))

        found = making_room(pod("urgent", gpus=2, priority=100), busy)

        assert isinstance(found, Plan)
        assert [victim["metadata"]["name"] for victim in found.victims] == ["low"]

    def test_takes_the_node_whose_victims_matter_least(self):
        rooms = room(pod("x", gpus=4, priority=5), name="a"), room(pod("y", gpus=4, priority=1), name="b")

        found = making_room(pod("urgent", gpus=4, priority=100), *rooms)

        assert isinstance(found, Plan)
        assert (found.node, [victim["metadata"]["name"] for victim in found.victims]) == ("b", ["y"])

    def test_same_priority_is_safe(self):
        busy = room(pod("peer", gpus=4, priority=7))

        found = making_room(pod(gpus=4, priority=7), busy)

        assert found == "0/1 nodes are available: 1 No preemption victims found for incoming pod."
        assert list(busy.pods) == ["peer"]

    def test_tells_too_few_victims_from_none(self):
        rooms = (
            room(pod("low", gpus=1, priority=1), pod("peer", gpus=3, priority=7), name="a"),
            room(pod("other", gpus=4, priority=8), name="b"),
        )

        found = making_room(pod(gpus=4, priority=7), *rooms)

        none = "1 No preemption victims found for incoming pod"
        assert found == f"0/2 nodes are available: 1 Insufficient nvidia.com/gpu, {none}."

    def test_is_not_tried_where_it_cannot_help(self):
        found = making_room(pod(gpus=8, priority=9), room(pod("low", gpus=4)))

        assert found == "0/1 nodes are available: 1 Preemption is not helpful for scheduling."

    def test_is_not_for_pods_that_never_preempt(self):
        assert not_eligible(pod(preemptionPolicy="Never", priority=9), None, None) == NEVER

    def test_waits_for_victims_on_their_way_out(self):
        victim = pod("victim", gpus=4, priority=1)
        victim["status"]["conditions"] = [{"type": "DisruptionTarget", "reason": "PreemptionByScheduler"}]
        busy, wanted = room(victim), pod(gpus=4, priority=9)

        assert not_eligible(wanted, busy, why_not(wanted, busy)) is None
        victim["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:10Z"
        assert not_eligible(wanted, busy, why_not(wanted, busy)) == TERMINATING


class TestBudgets:
    """Of three pods with one GPU each, one must go; `least` would without a budget."""

    ROOM = (
        pod("least", gpus=1, priority=1, labels={"app": "db"}),
        pod("middle", gpus=1, priority=2, labels={"app": "web"}),
        pod("most", gpus=2, priority=3, labels={"app": "web"}),
    )

    def victims(self, wanted: int, *budgets: dict[str, Any]) -> list[str]:
        return names(making_room(pod("urgent", gpus=wanted, priority=9), room(*self.ROOM), budgets=budgets))

    def test_spare_those_they_protect_before_more_important_ones(self):
        assert self.victims(1) == ["least"]
        assert self.victims(1, budget(0, app="db")) == ["middle"]
        assert self.victims(1, budget(1, app="db")) == ["least"]

    def test_are_overruled_where_nothing_else_helps(self):
        found = making_room(pod("urgent", gpus=4, priority=9), room(*self.ROOM), budgets=[budget(0, app="db")])

        assert names(found) == ["most", "middle", "least"]
        assert found == Plan("a", [self.ROOM[2], self.ROOM[1], self.ROOM[0]], violations=1)

    def test_allow_the_most_important_first(self):
        assert self.victims(2, budget(1, app="web"), budget(0, app="db")) == ["most"]

    def test_count_neither_other_namespaces_nor_what_is_on_its_way_out_nor_empty_selectors(self):
        assert self.victims(1, budget(0, namespace="other", app="db")) == ["least"]
        assert self.victims(1, budget(0, disrupted=["least"], app="db")) == ["least"]
        assert self.victims(1, budget(0)) == ["least"]

    def test_come_first_in_the_choice_of_a_node(self):
        cheap = room(pod("x", gpus=4, priority=1, labels={"app": "db"}), name="a")
        dear = room(pod("y", gpus=4, priority=5), name="b")
        urgent = pod("urgent", gpus=4, priority=9)

        assert names(making_room(urgent, cheap, dear)) == ["x"]
        assert names(making_room(urgent, cheap, dear, budgets=[budget(0, app="db")])) == ["y"]
