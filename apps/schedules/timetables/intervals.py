"""Every so many seconds of real time, counted from an anchor. Clocks that are set change nothing."""

from dataclasses import dataclass
from datetime import datetime, timedelta

SHORTEST_SECONDS = 10
LONGEST_SECONDS = 366 * 24 * 3600


@dataclass(frozen=True)
class Interval:
    seconds: int
    anchor: datetime

    def next_after(self, moment: datetime) -> datetime:
        if moment < self.anchor:
            return self.anchor
        step = timedelta(seconds=self.seconds)
        return self.anchor + ((moment - self.anchor) // step + 1) * step
