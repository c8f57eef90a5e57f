"""When django-celery-beat and RedBeat would run cron lines, with a clock that jumps from one asked moment to the next.

Standard input: a JSON list of {"zone", "line", "since", "until"} (seconds since the epoch). Standard output: for each
of them {"django": [seconds, …], "redbeat": […]}, or null where the line cannot be said.
"""

import json
import sys
from datetime import UTC, datetime, timedelta
from functools import cache
from zoneinfo import ZoneInfo

import reference  # noqa: F401 - sets Django up
from celery import Celery
from celery.schedules import ParseException, crontab
from django_celery_beat.tzcrontab import TzAwareCrontab

FIELDS = ("minute", "hour", "day_of_month", "month_of_year", "day_of_week")


@cache
def app_in(zone: str) -> Celery:
    app = Celery("clocks")
    app.conf.timezone = zone
    return app


def schedule(kind: str, line: str, zone: str) -> crontab:
    fields = dict(zip(FIELDS, line.split(), strict=True))
    if kind == "django":
        return TzAwareCrontab(**fields, tz=ZoneInfo(zone), app=app_in(zone))
    return crontab(**fields, app=app_in(zone))


def times(kind: str, line: str, zone: str, since: float, until: float) -> list[float]:
    """As beat does: ask whether it is due, sleep for as long as the answer says, ask again."""
    made, tz = schedule(kind, line, zone), ZoneInfo(zone)
    now = last = datetime.fromtimestamp(since, UTC)
    made.nowfun = lambda: now.astimezone(tz)
    found = []
    while now.timestamp() <= until:
        due, wait = made.is_due(last.astimezone(tz))
        if due:
            found.append(now.timestamp())
            last = now
        now += timedelta(seconds=max(wait, 1.0))
    return found


def answer(asked: dict) -> dict | None:
    try:
        return {kind: times(kind, **asked) for kind in ("django", "redbeat")}
    except (ParseException, ValueError):
        return None


if __name__ == "__main__":
    json.dump([answer(asked) for asked in json.load(sys.stdin)], sys.stdout)
