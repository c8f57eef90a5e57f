"""Celery's doors. Beat sends the ticks; every task may run twice, at once, late or never."""

import time
from datetime import UTC, datetime, timedelta

from celery import shared_task

from . import ahead, deadlines, engine, following, selectors
from .clock import database_now

ROUNDS = 120  # batches one tick does at most; the next tick, a second later, goes on
PRECISE_SECONDS = 1.0  # a tick waits for what is due, and is to be prepared, before the next one
MOST_HELPERS = 3  # further workers a tick asks for when a crowd is due at one moment


@shared_task(ignore_result=True)
def tick() -> None:
    """Fire what is due now or within the second, look again at slots that asked for it, and tell of late ones.

    The tick waits for each time that comes before the next tick does, so that it is met to a few milliseconds rather
    than at the beat of the clock; a crowd is prepared before (see `ahead`). By the database's clock: never early.
    """
    _fire()
    engine.look_again()
    _announce_late()
    end = database_now() + timedelta(seconds=PRECISE_SECONDS)
    while (coming := selectors.next_due_at()) is not None and _seconds_to(coming) > 0:
        count = selectors.due_by(coming)
        if coming >= end + timedelta(seconds=ahead.lead_seconds(count)):
            return
        for _helper in range(min(MOST_HELPERS, count // engine.BATCH)):
            fire_at.apply_async(kwargs={"moment": coming.timestamp(), "count": count}, queue="ticks", expires=2)
        _fire_at(coming, count)


@shared_task(ignore_result=True)
def fire_at(*, moment: float, count: int = 0) -> None:
    """Help with a crowd of `count`. Nobody depends on it: what it does not take, the tick does."""
    _fire_at(datetime.fromtimestamp(moment, tz=UTC), count)


def _fire_at(moment: datetime, count: int) -> None:
    lead = ahead.lead_seconds(count)
    wait = _seconds_to(moment)
    if wait >= PRECISE_SECONDS + lead:
        return
    if lead:
        time.sleep(max(0.0, wait - lead))
        ahead.fire_at(moment)
        wait = _seconds_to(moment)
    time.sleep(max(0.0, wait))
    _fire()


def _seconds_to(moment: datetime) -> float:
    return (moment - database_now()).total_seconds()


def _fire() -> None:
    for _round in range(ROUNDS):
        if engine.fire_due() < engine.BATCH:
            return


def _announce_late() -> None:
    for _round in range(ROUNDS):
        if deadlines.announce_passed() < deadlines.BATCH:
            return


@shared_task(ignore_result=True)
def record_runs(*, run_ids: list[int]) -> None:
    following.record_runs(run_ids=run_ids)
    following.follow_runs(run_ids=run_ids)


@shared_task(ignore_result=True)
def sweep_schedules() -> None:
    following.sweep()
