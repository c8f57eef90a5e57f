"""Django's Redis cache with one connection pool per process.

Django makes a cache object per request context, and each would open, and leave behind, connections of its own: under
ASGI that is a new connection for every request.
"""

from typing import Any

from django.core.cache.backends.redis import RedisCache, RedisCacheClient


class PooledClient(RedisCacheClient):
    shared: dict[tuple[str, ...], dict[int, Any]] = {}

    def __init__(self, servers: Any, *args: Any, **kwargs: Any) -> None:
        super().__init__(servers, *args, **kwargs)
        self._pools = self.shared.setdefault(tuple(servers), {})


class PooledRedisCache(RedisCache):
    def __init__(self, server: Any, params: dict[str, Any]) -> None:
        super().__init__(server, params)
        self._class = PooledClient
