"""Rate limits as counters per window: one round trip, however high the rate.

REST framework's own throttles keep every request's time in the cache and move the whole list with each request.
"""

import time
from typing import Any

from django.core.cache import cache
from redis.exceptions import RedisError
from rest_framework.throttling import AnonRateThrottle, UserRateThrottle


class Counting:
    """Allows `num_requests` per window of `duration` seconds. Without a cache everything is allowed: the limit protects
    against haste, not against intruders, and Cube should not stop because Redis did."""

    num_requests: int | None
    duration: int | None
    rate: str | None

    def allow_request(self, request: Any, view: Any) -> bool:
        key = self.get_cache_key(request, view) if self.rate else None  # type: ignore[attr-defined]
        if key is None or not self.duration:
            return True
        window = int(time.time()) // self.duration
        counter = f"{key}:{window}"
        try:
            return bool(counted(counter, timeout=self.duration * 2) <= (self.num_requests or 0))
        except (ValueError, RedisError, OSError):  # ValueError: the counter went between the two
            return True

    def wait(self) -> float:
        """Seconds until the next window."""
        duration = self.duration or 1
        return duration - time.time() % duration


def counted(counter: str, *, timeout: int) -> int:
    """Raises ValueError when the counter goes in between. Most often it is there, so it is asked first."""
    try:
        return int(cache.incr(counter))
    except ValueError:
        cache.add(counter, 0, timeout=timeout)
        return int(cache.incr(counter))


class Anonymous(Counting, AnonRateThrottle):
    pass


class PerUser(Counting, UserRateThrottle):
    pass
