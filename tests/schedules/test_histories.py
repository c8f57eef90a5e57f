"""Random histories of one schedule, held against what must be true of any: nothing runs that may not, and whatever
waits is waiting for something that will come, or for a person."""

from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from apps.schedules.admission import Around, BackfillFacts, Rules, SlotFacts, Verb, decide
from apps.schedules.choices import FINISHED, BackfillStatus, Order, Overlap, Past, SlotStatus, Why

from .conftest import NOON

MINUTE = timedelta(minutes=1)
BACKFILL = 1
STEPS = st.lists(
    st.tuples(
        st.sampled_from(
            ["time", "succeed", "fail", "stop", "skip", "ignore", "rerun", "force", "backfill", "upstream"]
        ),
        st.integers(0, 30),
    ),
    min_size=5,
    max_size=40,
)
RULES = st.builds(
    Rules,
    max_active_runs=st.integers(1, 3),
    overlap=st.sampled_from(list(Overlap)),
    depends_on_past=st.sampled_from(list(Past)),
    past_allows_missed=st.booleans(),
    past_allows_stopped=st.booleans(),
    waits_for=st.sampled_from([frozenset(), frozenset({7})]),
    keep_newest=st.sampled_from([None, None, 2, 4]),
)


class History:
    """The rows of a schedule without a database: what the engine would save after each decision."""

    def __init__(self, rules, cap, order):
        self.rules, self.now = rules, NOON
        self.slots: dict[int, SlotFacts] = {}
        self.upstream: dict = {}
        self.backfill = BackfillFacts(cap, BackfillStatus.RUNNING, order)
        self.reasons: dict[int, Why] = {}
        self.next_live, self.next_past = 1000, 0

    # -- what happens ---------------------------------------------------------------------------------------------
    def do(self, what, which):
        getattr(self, what)(which)
        self.settle()

    def add(self, key, backfill=None):
        at = NOON + MINUTE * key
        self.slots[key] = SlotFacts(key, at, SlotStatus.WAITING, self.now, backfill=backfill)

    def time(self, _which):
        self.now += MINUTE
        self.add(self.next_live)
        self.next_live += 1

    def backfilled(self):
        return [slot for slot in self.slots.values() if slot.backfill]

    def backfill_(self, which):
        for _n in range(which % 4 + 1):
            self.add(self.next_past, BACKFILL)
            self.next_past += 1

    def pick(self, which, *statuses):
        found = [slot for slot in self.slots.values() if slot.status in statuses]
        return found[which % len(found)] if found else None

    def put(self, slot, **changes):
        self.slots[slot.key] = SlotFacts(**{**slot.__dict__, **changes})

    def end(self, which, status):
        if (slot := self.pick(which, SlotStatus.RUNNING)) is not None:
            self.put(slot, status=SlotStatus.STOPPED if slot.is_stopping else status, is_stopping=False)

    def succeed(self, which):
        self.end(which, SlotStatus.SUCCEEDED)

    def fail(self, which):
        self.end(which, SlotStatus.FAILED)

    def stop(self, which):
        self.end(which, SlotStatus.STOPPED)

    def skip(self, which):
        if (slot := self.pick(which, SlotStatus.WAITING)) is not None:
            self.put(slot, status=SlotStatus.SKIPPED)

    def ignore(self, which):
        if (slot := self.pick(which, SlotStatus.FAILED)) is not None:
            self.put(slot, is_ignored=True)

    def rerun(self, which):
        if (slot := self.pick(which, *FINISHED)) is not None:
            self.put(slot, status=SlotStatus.WAITING, is_ignored=False, is_forced=False, backfill=None)

    def force(self, which):
        if (slot := self.pick(which, SlotStatus.WAITING)) is not None:
            self.put(slot, is_forced=True)

    def upstream_(self, which):
        if (slot := self.pick(which, SlotStatus.WAITING)) is not None:
            self.upstream[slot.logical_at] = frozenset({7})

    # -- what the engine makes of it ------------------------------------------------------------------------------
    def around(self):
        ordered = sorted(self.slots.values(), key=lambda slot: slot.logical_at)
        past = {slot.key: ordered[place - 1] if place else None for place, slot in enumerate(ordered)}
        return Around(past=past, upstream=self.upstream, backfills={BACKFILL: self.backfill})

    def settle(self):
        open_slots = [slot for slot in self.slots.values() if slot.status not in FINISHED]
        decisions = decide(open_slots, rules=self.rules, around=self.around(), now=self.now)
        self.check(decisions)
        for decision in decisions:
            slot = self.slots[decision.key]
            self.reasons[decision.key] = decision.reason
            match decision.verb:
                case Verb.START:
                    self.put(slot, status=SlotStatus.RUNNING, is_forced=False)
                case Verb.SKIP:
                    self.put(slot, status=SlotStatus.SKIPPED)
                case Verb.MISS:
                    self.put(slot, status=SlotStatus.MISSED)
                case Verb.STOP:
                    self.put(slot, is_stopping=True)

    # -- what must be true ----------------------------------------------------------------------------------------
    def check(self, decisions):
        """Every waiting slot is decided once; caps hold; a slot starts only when the one before it allows."""
        verbs = {d.key: d for d in decisions}
        waiting = {slot.key for slot in self.slots.values() if slot.status == SlotStatus.WAITING}
        assert waiting <= verbs.keys()
        assert len(verbs) == len(decisions)
        started = [self.slots[d.key] for d in decisions if d.verb == Verb.START and not self.slots[d.key].is_forced]
        live = self.active(None) + sum(1 for slot in started if slot.backfill is None)
        if any(slot.backfill is None for slot in started) and self.rules.overlap not in {
            Overlap.PARALLEL,
            Overlap.CANCEL,
        }:
            assert live <= max(self.rules.max_active_runs, self.active(None))
        filled = [slot for slot in started if slot.backfill]
        assert not filled or self.active(BACKFILL) + len(filled) <= self.backfill.cap
        if self.rules.depends_on_past != Past.OFF:
            past = self.around().past
            for slot in started:
                before = past[slot.key]
                assert before is None or before.status in FINISHED or verbs[before.key].verb in {Verb.SKIP, Verb.MISS}

    def active(self, backfill):
        return sum(1 for s in self.slots.values() if s.status == SlotStatus.RUNNING and s.backfill == backfill)

    def run_dry(self):
        """Everything that runs succeeds and every pipeline that is awaited does too: nothing may wait in the end."""
        self.upstream = {slot.logical_at: frozenset({7}) for slot in self.slots.values()}
        for _round in range(4 * len(self.slots) + 4):
            self.settle()
            if self.pick(0, SlotStatus.RUNNING) is None:
                return
            self.succeed(0)


HISTORIES = {"rules": RULES, "cap": st.integers(1, 3), "order": st.sampled_from(list(Order)), "steps": STEPS}


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(**HISTORIES)
def test_no_state_is_without_progress(rules, cap, order, steps):
    check_history(rules, cap, order, steps)


def check_history(rules, cap, order, steps):
    """Play a history, then let everything succeed: what waits then must wait for a person."""
    order = Order.UP if rules.depends_on_past != Past.OFF else order
    history = History(rules, cap, order)
    for what, which in steps:
        history.do({"backfill": "backfill_", "upstream": "upstream_"}.get(what, what), which)

    history.run_dry()

    left = [slot for slot in history.slots.values() if slot.status not in FINISHED]
    for slot in left:  # A failure that nobody has looked at stands before it.
        assert history.reasons[slot.key] in {Why.PAST_FAILED, Why.PAST}, (slot, history.reasons[slot.key])
    blocked = [slot for slot in left if history.reasons[slot.key] == Why.PAST]
    assert not left or len(blocked) < len(left)


@pytest.mark.parametrize("cap", [1, 2, 3])
def test_slots_start_oldest_first(cap):
    waiting = [SlotFacts(n, NOON + MINUTE * n, SlotStatus.WAITING, NOON) for n in (3, 1, 5, 2, 4)]

    decisions = decide(waiting, rules=Rules(max_active_runs=cap), around=Around(), now=NOON)

    assert sorted(d.key for d in decisions if d.verb == Verb.START) == list(range(1, cap + 1))
