"""S5 for django-celery-beat and RedBeat: the same lines and zones, on the days around each change of the clocks."""

import json
import subprocess
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from tests.bench.references.environment import HERE, NotInstalled, python_of

AROUND = timedelta(days=1)
SECONDS = 900
KINDS = {"django": "django-celery-beat", "redbeat": "RedBeat"}
NO_SERVERS = {
    "REFERENCE_ARRIVALS": "", "REFERENCE_PREFIX": "", "REFERENCE_REDIS": "redis://127.0.0.1",
    "REFERENCE_DATABASE": json.dumps({"ENGINE": "django.db.backends.dummy"}),
}  # fmt: skip


def told(expected: Mapping[tuple[str, str], Iterable[datetime]], recorded: str) -> str:
    """Differences from the `expected` times of each (zone, line), of all that are near a change."""
    try:
        python = python_of("celery")
    except NotInstalled as reason:
        return f"{recorded} (before; now {reason})"
    wanted = [(zone, line, *span) for zone, line in expected for span in spans(zone, list(expected[zone, line]))]
    asked = [
        {"zone": zone, "line": line, "since": since.timestamp(), "until": until.timestamp()}
        for zone, line, since, until in wanted
    ]
    done = subprocess.run(  # noqa: S603
        [str(python), "clocks.py"], cwd=HERE / "celery", env=NO_SERVERS, input=json.dumps(asked), text=True,
        capture_output=True, timeout=SECONDS, check=False,
    )  # fmt: skip
    if done.returncode:
        return f"{recorded} (before; now {done.stderr.strip().splitlines()[-1][:80]})"
    found = list(zip(wanted, json.loads(done.stdout), strict=True))
    unsaid = {line for (_zone, line, *_span), times in found if times is None}
    parts = [f"{name} {differences(found, expected, kind)}" for kind, name in KINDS.items()]
    count = sum(len(within(expected[zone, line], since, until)) for (zone, line, since, until), t in found if t)
    return f"{', '.join(parts)} in {count:,} near a change; {len(unsaid)} lines they cannot say"


def spans(zone: str, times: list[datetime]) -> list[tuple[datetime, datetime]]:
    """A day before to a day after each change of the zone's offset."""
    if not times:
        return []
    found, hour, place = [], times[0].replace(minute=0, second=0), ZoneInfo(zone)
    while hour < times[-1]:
        later = hour + timedelta(hours=1)
        if hour.astimezone(place).utcoffset() != later.astimezone(place).utcoffset():
            found.append((hour - AROUND, later + AROUND))
        hour = later
    return found


def within(times: Iterable[datetime], since: datetime, until: datetime) -> set[datetime]:
    return {at.astimezone(UTC) for at in times if since < at <= until}


def differences(found: list, expected: Mapping[tuple[str, str], Iterable[datetime]], kind: str) -> int:
    """Times that one has and the other has not."""
    return sum(
        len({datetime.fromtimestamp(at, UTC) for at in times[kind]} ^ within(expected[zone, line], since, until))
        for (zone, line, since, until), times in found
        if times is not None
    )
