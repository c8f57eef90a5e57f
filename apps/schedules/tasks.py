"""Celery's doors. Beat sends the ticks; every task may run twice, at once, late or never."""

import time
from datetime import timedelta

from celery import shared_task

from . import engine, following, selectors
from .clock import database_now

ROUNDS = 120  # batches one tick does at most; the next tick, a second later, goes on
PRECISE_SECONDS = 1.0  # a tick waits for what is due before the next one
MOST_HELPERS = 3  # further workers a tick asks for when a crowd is due at one moment


@shared_task(ignore_result=True)
def tick() -> None:
    """Fire what is due now and all that comes within the second, and look again at slots that asked for it.

    The tick waits for each time that comes before the next tick does, so that it is met to a few milliseconds rather
    than at the beat of the clock. It waits outside any transaction and by the database's clock: never early.
    """
    _fire()
    engine.look_again()
    end = database_now() + timedelta(seconds=PRECISE_SECONDS)
    while (coming := selectors.next_due_at()) is not None and database_now() < coming < end:
        for _helper in range(min(MOST_HELPERS, selectors.due_by(coming) // engine.BATCH)):
            fire_at.apply_async(kwargs={"moment": coming.timestamp()}, queue="ticks", expires=2)
        _fire_at(coming.timestamp())


@shared_task(ignore_result=True)
def fire_at(*, moment: float) -> None:
    """Help with a crowd. Nobody depends on it: what it does not take, the tick does."""
    _fire_at(moment)


def _fire_at(moment: float) -> None:
    wait = moment - database_now().timestamp()
    if wait < PRECISE_SECONDS:
        time.sleep(max(0.0, wait))
        _fire()


def _fire() -> None:
    for _round in range(ROUNDS):
        if engine.fire_due() < engine.BATCH:
            return


@shared_task(ignore_result=True)
def record_runs(*, run_ids: list[int]) -> None:
    following.record_runs(run_ids=run_ids)
    following.follow_runs(run_ids=run_ids)


@shared_task(ignore_result=True)
def sweep_schedules() -> None:
    following.sweep()
