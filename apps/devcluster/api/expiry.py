"""Events are forgotten an hour after they were last written, as a real API server does (`--event-ttl`)."""

from __future__ import annotations

import asyncio
from collections import deque
from datetime import UTC, datetime, timedelta

from .clock import timestamp
from .store import Object, Store

EVENTS = "events"
KEEP = timedelta(hours=1)
LOOK_EVERY_SECONDS = 60.0


async def run(store: Store) -> None:
    """For ever."""
    expiry = Expiry(store)
    while True:
        await asyncio.sleep(LOOK_EVERY_SECONDS)
        now = datetime.now(UTC)
        expiry.mark(now)
        expiry.forget(before=now - KEEP)


class Expiry:
    """Knows at which version the store was when: an event of that version or a lower one was not written since.

    So nothing is kept for each event, and none is parsed to learn its age. Of those from before the start, which may
    be many, the times are read once.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        now = timestamp()  # No event was written later than now, whatever it says.
        found = sorted((stored.version, min(now, _written_at(stored.obj))) for _, stored in store.items(EVENTS))
        self._marks: deque[tuple[str, int]] = deque((at, version) for version, at in found)

    def mark(self, now: datetime) -> None:
        """What was written so far was written by now."""
        self._marks.append((timestamp(now), self._store.version))

    def forget(self, *, before: datetime) -> None:
        """Remove the events that were last written before a moment, as far as the marks tell."""
        limit, until = timestamp(before), 0
        while self._marks and self._marks[0][0] < limit:
            until = self._marks.popleft()[1]
        if until:
            for key, stored in self._store.items(EVENTS):
                if stored.version <= until:
                    self._store.remove(EVENTS, key)


def _written_at(event: Object) -> str:
    """Times of this form sort as texts."""
    return max(event.get("lastTimestamp") or "", event["metadata"]["creationTimestamp"])
