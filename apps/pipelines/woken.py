"""Runs that are worth a look, until a worker takes some of them: a set, so that a run stands in it once.

In Redis where the cache is there; else in this process, which is where a test's workers are. Losing it costs speed
alone: the sweep finds the same runs.
"""

import threading
from typing import Any

from django.core.cache import DEFAULT_CACHE_ALIAS, cache, caches
from django.core.cache.backends.redis import RedisCache

NAME = "pipelines:woken"
_lock = threading.Lock()
_here: dict[int, None] = {}


def add(run_id: int) -> bool:
    """Whether the run was not among them before: then somebody has to be told."""
    if (client := _redis()) is not None:
        return bool(client.sadd(cache.make_key(NAME), run_id))
    with _lock:
        known = run_id in _here
        _here[run_id] = None
        return not known


def take(count: int) -> list[int]:
    """Up to `count` of them, which are among them no longer: whoever comes from now on is added again."""
    if (client := _redis()) is not None:
        return sorted(int(member) for member in client.spop(cache.make_key(NAME), count) or ())
    with _lock:
        taken = list(_here)[:count]
        for run_id in taken:
            del _here[run_id]
        return taken


def _redis() -> Any:
    backend = caches[DEFAULT_CACHE_ALIAS]
    return backend._cache.get_client(write=True) if isinstance(backend, RedisCache) else None
