"""What a crowd is made of stands ready before its moment, and becomes real at it.

Schedules gather at full minutes and hours. Whoever gets the tick before such a moment writes the slots and runs of some
of them in one transaction and commits it when the database's clock has come to the moment: never early, and nothing is
left to do then. Killed before, it has done nothing; what it has not taken, or gives up, is fired as if there were no
`ahead`. Only what starts in any case is prepared: a run that ends meanwhile decides about the others.

The schedules are locked so long, for a few seconds at most: who edits or pauses one of them does so after the moment.
"""

import time
from datetime import datetime

import structlog
from django.db import connection, transaction

from apps.pipelines.selectors import saved_at

from . import engine, planning, selectors
from .clock import database_now

MOST_LEAD_SECONDS = 3.0
LEAST_LEAD_SECONDS = 0.1
PREPARED_A_SECOND = 1000  # schedules: a smaller crowd is locked for a shorter time
logger = structlog.get_logger(__name__)


class Outdated(Exception):
    """What was prepared is no longer what is to be."""


def lead_seconds(count: int) -> float:
    """How long before its moment a crowd of `count` schedules is prepared: 0 where that locks the whole database."""
    if not connection.features.has_select_for_update_skip_locked:
        return 0.0
    return min(MOST_LEAD_SECONDS, LEAST_LEAD_SECONDS + count / PREPARED_A_SECOND)


def fire_at(moment: datetime) -> None:
    """Prepare schedules that are due at `moment`, until it comes, and let that be real from then on."""
    try:
        with transaction.atomic():
            if pipelines := _prepare(moment):
                connection.check_constraints()  # So that it is not done in the commit. Pipelines stay as they are now.
                if saved_at(pipelines) != pipelines:
                    raise Outdated
                _wait_for(moment)
    except Outdated:
        logger.info("prepared slots are outdated", moment=moment.isoformat())
    except Exception:
        logger.exception("slots could not be prepared", moment=moment.isoformat())


def _prepare(moment: datetime) -> dict[int, datetime]:
    """Fire batches as long as there is time for one more. Returns when each of their pipelines was last saved."""
    pipelines: dict[int, datetime] = {}
    took = 0.0
    while (moment - database_now()).total_seconds() > took:
        begun = time.monotonic()
        schedules = selectors.locked_ahead(moment, limit=engine.BATCH)
        if not schedules:
            break
        engine.fire(schedules, {row.pk: planning.plan(row, now=moment) for row in schedules}, now=moment)
        for row in schedules:
            pipelines.setdefault(row.pipeline_id, row.pipeline.updated_at)
        took = time.monotonic() - begun
    return pipelines


def _wait_for(moment: datetime) -> None:
    """Raises Outdated when the database's clock was set back meanwhile: nothing is locked for long."""
    while (left := (moment - database_now()).total_seconds()) > 0:
        if left > MOST_LEAD_SECONDS:
            raise Outdated
        time.sleep(left)
