"""Carries out what `admission` decides: starts runs in bulk, ends slots, notes why the others wait."""

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.utils import timezone
from django.utils.translation import gettext as _

from apps.core.bulk import insert_rows, update_rows
from apps.core.errors import DomainError, InvalidInput
from apps.core.events import publish
from apps.pipelines import services as pipelines
from apps.pipelines import steering
from apps.pipelines.choices import Launch
from apps.pipelines.models import Run, Version
from apps.pipelines.selectors import newest_versions
from apps.pipelines.services import NewRun

from . import selectors, tallies
from .admission import Around, Decision, Verb, decide
from .choices import Past, SlotStatus, Why
from .events import SlotsChanged
from .models import Schedule, Slot, run_uid

MESSAGE_LENGTH = 500
BACKFILL_BELOW = 10  # how much lower than its schedule's the priority of a backfill's runs is
LAUNCH_RETRY = timedelta(seconds=15)
SAVED = [
    "status", "reason", "message", "reason_at", "check_at", "run", "tries", "is_forced", "started_at", "finished_at",
    "late_at", "version", "updated_at",
]  # fmt: skip


@dataclass
class Work:
    """One round over some schedules: their slots by key, and which of them changed. New slots have negative keys."""

    schedules: dict[int, Schedule]
    now: datetime
    slots: dict[int, Slot]
    pasts: dict[int, Slot] = field(default_factory=dict)  # slots before those that look at their past, by key
    awaited: dict[int, str] = field(default_factory=dict)  # names of the pipelines a schedule waits for, by its key
    changed: set[int] = field(default_factory=set)
    starting: list[int] = field(default_factory=list)
    refused: tallies.Counts = field(default_factory=Counter)

    @property
    def written_at(self) -> datetime:
        """When its rows are said to be saved: what is prepared ahead of a moment becomes real at that moment."""
        return max(self.now, timezone.now())


def advance(schedules: Collection[Schedule], *, now: datetime, fresh: Sequence[Slot] = ()) -> None:
    """Save `fresh` slots and decide about all unfinished ones of these schedules, whose rows the caller has locked."""
    by_key = {schedule.pk: schedule for schedule in schedules}
    fresh = _saved_where_past_counts(fresh, by_key)
    numbered = {-place: slot for place, slot in enumerate(fresh, 1)}
    numbered.update({slot.pk: slot for slot in selectors.unfinished_of(schedules)})
    work = Work(by_key, now, numbered)
    decisions = _decisions(work)
    blocked = {numbered[one.key].schedule_id for one in decisions if one.reason == Why.UPSTREAM}
    work.awaited = selectors.names_awaited_by(blocked)
    for decision in decisions:
        _carry_out(work, decision)
    _start_runs(work)
    _save(work)
    changed = {work.slots[key].schedule_id for key in work.changed} | {slot.schedule_id for slot in fresh}
    if changed:
        pairs = frozenset((str(by_key[pk].uid), by_key[pk].project_id) for pk in changed)
        publish(SlotsChanged(schedules=pairs))


def _saved_where_past_counts(fresh: Sequence[Slot], schedules: dict[int, Schedule]) -> list[Slot]:
    """What asks for the slot before it needs rows to ask about; the rest is saved once, decided."""
    dependent = [slot for slot in fresh if schedules[slot.schedule_id].depends_on_past != Past.OFF]
    insert_rows(dependent)
    kept = {id(slot) for slot in dependent}
    return [slot for slot in fresh if id(slot) not in kept]


def _decisions(work: Work) -> list[Decision]:
    slots = list(work.slots.values())
    rules = selectors.rules_of(work.schedules.values())
    pasts = selectors.pasts_of(slots, work.schedules)
    work.pasts = {slot.pk: slot for slot in pasts.values() if slot}
    around = Around(
        past={key: selectors.facts_of(slot, slot.pk) if slot else None for key, slot in pasts.items()},
        upstream=selectors.upstream_of(slots, rules),
        backfills=selectors.backfills_of(slots),
    )
    facts: dict[int, list[Any]] = {pk: [] for pk in work.schedules}
    for key, slot in work.slots.items():
        if slot.status in {SlotStatus.WAITING, SlotStatus.RUNNING}:
            facts[slot.schedule_id].append(selectors.facts_of(slot, key))
    return [
        decision
        for pk, slots_of in facts.items()
        if slots_of
        for decision in decide(slots_of, rules=rules[pk], around=around, now=work.now)
    ]


def _carry_out(work: Work, decision: Decision) -> None:
    slot = work.slots[decision.key]
    match decision.verb:
        case Verb.START:
            work.starting.append(decision.key)
        case Verb.WAIT:
            _note(work, decision.key, decision.reason, _who_blocks(work, decision), check_at=decision.check_at)
        case Verb.SKIP | Verb.MISS:
            ended = SlotStatus.SKIPPED if decision.verb == Verb.SKIP else SlotStatus.MISSED
            end(slot, ended, decision.reason, now=work.now)
            work.changed.add(decision.key)
        case Verb.STOP:
            _stop(slot)


def _who_blocks(work: Work, decision: Decision) -> str:
    """Names what stands in the way, so that nobody has to look for it."""
    if decision.reason == Why.UPSTREAM:
        return work.awaited.get(work.slots[decision.key].schedule_id, "")
    if decision.blocked_by is None:
        return ""
    blocker = work.slots.get(decision.blocked_by) or work.pasts[decision.blocked_by]
    return _("the time %(at)s (UTC), which is %(status)s") % {
        "at": f"{blocker.logical_at:%Y-%m-%d %H:%M:%S}",
        "status": blocker.get_status_display().lower(),
    }


def _note(work: Work, key: int, reason: Why, message: str, *, check_at: datetime | None) -> None:
    """Since when a slot waits for something is kept while the reason stays."""
    slot = work.slots[key]
    is_new = slot.reason != reason
    if not is_new and slot.message == message and slot.check_at and slot.check_at > work.now:
        return
    if is_new:
        slot.reason, slot.reason_at = reason, work.now
        slot.version += 1
    slot.message, slot.check_at = message[:MESSAGE_LENGTH], check_at
    work.changed.add(key)


def end(slot: Slot, status: SlotStatus, reason: Why, *, now: datetime, message: str = "") -> None:
    """In memory: the slot is over."""
    slot.status, slot.reason, slot.message = status, reason, message[:MESSAGE_LENGTH]
    slot.reason_at = slot.finished_at = now
    slot.check_at = slot.late_at = None
    slot.is_forced = False
    slot.version += 1


def _stop(slot: Slot) -> None:
    if slot.run is None:
        return
    try:
        steering.stop_run(run=slot.run, actor=None)
    except DomainError:  # It ended a moment ago, which is as good.
        return


# -- runs -------------------------------------------------------------------------------------------------------------
def _start_runs(work: Work) -> None:
    """All that may start, in a few statements. A refusal comes before anything is written."""
    if not work.starting:
        return
    newest = newest_versions(
        [work.schedules[work.slots[key].schedule_id].pipeline for key in work.starting if _takes_newest(work, key)]
    )
    asked = {
        key: new_run(work.slots[key], work.schedules[work.slots[key].schedule_id], newest) for key in work.starting
    }
    try:
        runs = pipelines.start_runs(list(asked.values()), at=work.written_at)
    except InvalidInput:  # Of one or of some: the others are started all the same.
        asked = {key: new for key, new in asked.items() if _can_start(work, key, new)}
        runs = pipelines.start_runs(list(asked.values()), at=work.written_at)
    for key, run in zip(asked, runs, strict=True):
        _started(work, key, run)


def _can_start(work: Work, key: int, new: NewRun) -> bool:
    """Else the slot waits on, with the reason."""
    try:
        pipelines.draft_run(new)
    except InvalidInput as refusal:
        work.refused[tallies.REFUSED, ""] += 1
        check_at = work.now + LAUNCH_RETRY * 2 ** min(work.slots[key].failures, 4)
        _note(work, key, Why.LAUNCH_FAILED, str(refusal), check_at=check_at)
        return False
    return True


def _takes_newest(work: Work, key: int) -> bool:
    return work.schedules[work.slots[key].schedule_id].pipeline_version_id is None


def new_run(slot: Slot, schedule: Schedule, newest: dict[int, Version]) -> NewRun:
    """What the slot's next run is asked to be. Its uid is the slot's and the try's, so that twice is once."""
    backfill = slot.backfill
    priority = schedule.priority - (BACKFILL_BELOW if backfill else 0)
    return NewRun(
        pipeline=schedule.pipeline,
        version=schedule.pipeline_version or newest.get(schedule.pipeline_id),
        params={**schedule.params, **(backfill.params if backfill else {})},
        trigger=Launch.BACKFILL if backfill else Launch.SCHEDULE,
        logical_at=slot.logical_at,
        interval_start=slot.interval_start,
        interval_end=slot.logical_at,
        priority=max(-100, priority),
        uid=run_uid(slot.uid, slot.tries + 1),
    )


def _started(work: Work, key: int, run: Run) -> None:
    slot = work.slots[key]
    slot.run, slot.tries = run, slot.tries + 1
    slot.status, slot.reason, slot.message = SlotStatus.RUNNING, Why.NONE, ""
    slot.started_at, slot.finished_at, slot.reason_at, slot.check_at = work.now, None, None, None
    slot.is_forced = False
    slot.version += 1
    work.changed.add(key)


def _save(work: Work) -> None:
    fresh = [slot for key, slot in work.slots.items() if key < 0]
    insert_rows(fresh, at=work.written_at)
    changed = [work.slots[key] for key in work.changed if key > 0]
    for slot in changed:
        slot.updated_at = work.now
    update_rows(changed, SAVED)
    tallies.add_later(tallies.of_slots([*fresh, *changed]) + work.refused)
