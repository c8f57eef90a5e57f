"""What may start now. A pure function of one schedule's unfinished slots: it can be tested, replayed and explained.

Slots are looked at oldest first (a backfill's in its own order), and one that waits holds no place: so a cap of one
run cannot block itself, whatever depends on what.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum

from .choices import BackfillStatus, Order, Overlap, Past, SlotStatus, Why

LOOK_AGAIN = timedelta(seconds=60)  # when nothing is announced; what is announced is acted on at once


@dataclass(frozen=True)
class Rules:
    max_active_runs: int = 1
    overlap: str = Overlap.QUEUE
    depends_on_past: str = Past.OFF
    past_allows_missed: bool = True
    past_allows_stopped: bool = False
    waits_for: frozenset[int] = frozenset()
    wait_limit: timedelta | None = None
    keep_newest: int | None = None
    is_paused: bool = False


@dataclass(frozen=True)
class SlotFacts:
    key: int
    logical_at: datetime
    status: str
    due_at: datetime
    is_ignored: bool = False
    is_forced: bool = False
    failures: int = 0
    backfill: int | None = None
    is_stopping: bool = False  # its run has been asked to stop


@dataclass(frozen=True)
class BackfillFacts:
    cap: int
    status: str = BackfillStatus.RUNNING
    order: str = Order.UP


@dataclass(frozen=True)
class Around:
    """What a decision may look at besides the slots themselves."""

    past: Mapping[int, SlotFacts | None] = field(default_factory=dict)  # by key: the slot before it
    upstream: Mapping[datetime, frozenset[int]] = field(default_factory=dict)  # pipelines that succeeded for a time
    backfills: Mapping[int, BackfillFacts] = field(default_factory=dict)


class Verb(StrEnum):
    START = "start"
    WAIT = "wait"
    SKIP = "skip"
    MISS = "miss"
    STOP = "stop"


@dataclass(frozen=True)
class Decision:
    key: int
    verb: Verb
    reason: Why = Why.NONE
    blocked_by: int | None = None  # the slot that stands in the way
    check_at: datetime | None = None


def decide(slots: Sequence[SlotFacts], *, rules: Rules, around: Around, now: datetime) -> list[Decision]:
    """One decision for each waiting slot, and a STOP for each running one that has to make room."""
    return _Deciding(slots, rules, around, now).all()


class _Deciding:
    def __init__(self, slots: Sequence[SlotFacts], rules: Rules, around: Around, now: datetime) -> None:
        self.rules, self.around, self.now = rules, around, now
        self.slots = {slot.key: slot for slot in sorted(slots, key=lambda slot: slot.logical_at)}
        self.decisions: dict[int, Decision] = {}

    def all(self) -> list[Decision]:
        self._expire()
        for slot in self._waiting():
            if slot.is_forced:
                self._start(slot)
        self._live()
        for key in {slot.backfill for slot in self._waiting() if slot.backfill is not None}:
            self._of_backfill(key)
        return list(self.decisions.values())

    # -- what there is ------------------------------------------------------------------------------------------------
    def _waiting(self) -> list[SlotFacts]:
        return [s for s in self.slots.values() if s.status == SlotStatus.WAITING and s.key not in self.decisions]

    def _running(self, backfill: int | None) -> list[SlotFacts]:
        return [s for s in self.slots.values() if s.status == SlotStatus.RUNNING and s.backfill == backfill]

    def _say(self, slot: SlotFacts, verb: Verb, reason: Why = Why.NONE, **more: object) -> None:
        self.decisions[slot.key] = Decision(slot.key, verb, reason, **more)  # type: ignore[arg-type]

    def _start(self, slot: SlotFacts) -> None:
        self._say(slot, Verb.START)
        self.slots[slot.key] = replace(slot, status=SlotStatus.RUNNING)

    def _wait(
        self, slot: SlotFacts, reason: Why, *, blocked_by: int | None = None, until: datetime | None = None
    ) -> None:
        self._say(slot, Verb.WAIT, reason, blocked_by=blocked_by, check_at=until or self.now + LOOK_AGAIN)

    # -- the rules ----------------------------------------------------------------------------------------------------
    def _expire(self) -> None:
        """Only the newest live ones are kept."""
        if self.rules.keep_newest is None:
            return
        live = [slot for slot in self.slots.values() if slot.backfill is None and not slot.is_forced]
        for slot in live[: -self.rules.keep_newest]:
            if slot.status == SlotStatus.WAITING:
                self._say(slot, Verb.SKIP, Why.EXPIRED)
            elif not slot.is_stopping:
                self._stop(slot, Why.EXPIRED)

    def _stop(self, slot: SlotFacts, reason: Why) -> None:
        self._say(slot, Verb.STOP, reason)
        self.slots[slot.key] = replace(slot, is_stopping=True)

    def _is_held(self, slot: SlotFacts) -> bool:
        """Whether something other than a cap keeps it; then that is decided here."""
        if slot.due_at > self.now:
            self._wait(slot, Why.RETRY if slot.failures else Why.NOT_DUE, until=slot.due_at)
        elif self.rules.is_paused and slot.backfill is None:
            self._wait(slot, Why.PAUSED)
        elif (blocker := self._past_blocks(slot)) is not None:
            unfinished = blocker.status in {SlotStatus.WAITING, SlotStatus.RUNNING}
            self._wait(slot, Why.PAST if unfinished else Why.PAST_FAILED, blocked_by=blocker.key)
        elif missing := self.rules.waits_for - self.around.upstream.get(slot.logical_at, frozenset()):
            self._wait_for_upstream(slot, missing)
        else:
            return False
        return True

    def _past_blocks(self, slot: SlotFacts) -> SlotFacts | None:
        past = self.around.past.get(slot.key)
        if self.rules.depends_on_past == Past.OFF or past is None:
            return None
        past = self.slots.get(past.key, past)
        decided = self.decisions.get(past.key)
        status = {Verb.SKIP: SlotStatus.SKIPPED, Verb.MISS: SlotStatus.MISSED}.get(
            decided.verb if decided else Verb.WAIT, past.status
        )
        return None if self._satisfies(replace(past, status=status)) else past

    def _satisfies(self, past: SlotFacts) -> bool:
        if past.status in {SlotStatus.WAITING, SlotStatus.RUNNING}:
            return False
        if self.rules.depends_on_past == Past.FINISHED or past.is_ignored:
            return True
        allowed = {SlotStatus.SUCCEEDED, SlotStatus.SKIPPED}
        allowed |= {SlotStatus.MISSED} if self.rules.past_allows_missed else set()
        allowed |= {SlotStatus.STOPPED} if self.rules.past_allows_stopped else set()
        return past.status in allowed

    def _wait_for_upstream(self, slot: SlotFacts, missing: frozenset[int]) -> None:
        limit = self.rules.wait_limit
        if limit is not None and self.now - slot.due_at >= limit:
            self._say(slot, Verb.MISS, Why.UPSTREAM_LATE)
            return
        until = min(self.now + LOOK_AGAIN, slot.due_at + limit) if limit is not None else None
        self._wait(slot, Why.UPSTREAM, until=until)

    # -- caps ---------------------------------------------------------------------------------------------------------
    def _live(self) -> None:
        """Each in turn, for a start or a skip may free the next one of what it waits for."""
        for slot in [slot for slot in self._waiting() if slot.backfill is None]:
            if not self._is_held(slot):
                self._under_cap(slot)
        self._drop_all_but_newest()

    def _under_cap(self, slot: SlotFacts) -> None:
        active = self._running(None)
        over = len(active) - self.rules.max_active_runs + 1
        staying = [other for other in active if not other.is_stopping and self._may_be_stopped(other)]
        if over <= 0 or self.rules.overlap == Overlap.PARALLEL:
            self._start(slot)
        elif self.rules.overlap == Overlap.SKIP and not slot.failures:  # A retry waits: it had its place once.
            self._say(slot, Verb.SKIP, Why.OVERLAP)
        elif self.rules.overlap == Overlap.CANCEL:
            self._make_room(slot, active)
        elif self.rules.overlap == Overlap.REPLACE:
            ending = sum(1 for other in active if other.is_stopping)
            for other in staying[: max(0, over - ending)]:
                self._stop(other, Why.REPLACING)
            self._wait(slot, Why.REPLACING, blocked_by=active[0].key)
        else:
            self._wait(slot, Why.ACTIVE_RUNS, blocked_by=active[0].key)

    def _may_be_stopped(self, slot: SlotFacts) -> bool:
        """What this very decision starts has no run to stop yet."""
        return self.decisions.get(slot.key, Decision(0, Verb.STOP)).verb != Verb.START

    def _make_room(self, slot: SlotFacts, active: Iterable[SlotFacts]) -> None:
        """Cancel: those that end hold no place any more. Of several that come at once the newest has it."""
        staying = [other for other in active if not other.is_stopping]
        for other in staying[: max(0, len(staying) - self.rules.max_active_runs + 1)]:
            if self._may_be_stopped(other):
                self._stop(other, Why.SUPERSEDED)
            else:
                self._say(other, Verb.SKIP, Why.SUPERSEDED)
                self.slots[other.key] = replace(other, status=SlotStatus.SKIPPED)
        self._start(slot)

    def _drop_all_but_newest(self) -> None:
        if self.rules.overlap not in {Overlap.QUEUE_LATEST, Overlap.REPLACE}:
            return
        held = {Why.ACTIVE_RUNS, Why.REPLACING}
        queued = [s for s in self.slots.values() if s.key in self.decisions and self._waits_because(s, held)]
        for slot in queued[:-1]:
            self._say(slot, Verb.SKIP, Why.SUPERSEDED)

    def _waits_because(self, slot: SlotFacts, reasons: set[Why]) -> bool:
        decision = self.decisions[slot.key]
        return decision.verb == Verb.WAIT and decision.reason in reasons and not slot.failures

    def _of_backfill(self, key: int) -> None:
        backfill = self.around.backfills[key]
        mine = [slot for slot in self._waiting() if slot.backfill == key]
        for slot in mine if backfill.order == Order.UP else reversed(mine):
            if backfill.status == BackfillStatus.CANCELLED:
                self._say(slot, Verb.SKIP, Why.BACKFILL_CANCELLED)
            elif backfill.status == BackfillStatus.PAUSED:
                self._wait(slot, Why.BACKFILL_PAUSED)
            elif self._is_held(slot):
                continue
            elif len(active := self._running(key)) >= backfill.cap:
                self._wait(slot, Why.BACKFILL_CAP, blocked_by=active[0].key)
            else:
                self._start(slot)
