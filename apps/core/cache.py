"""Django's Redis cache with one connection pool per process.

Django makes a cache object per request context, and each would open, and leave behind, connections of its own: under
ASGI that is a new connection for every request. It also makes a client for every command, which costs more than the
command; one serves every thread, since each command takes a connection of the pool for itself.
"""

from typing import Any

from django.core.cache.backends.redis import RedisCache, RedisCacheClient


class PooledClient(RedisCacheClient):
    shared: dict[tuple[str, ...], dict[int, Any]] = {}

    def __init__(self, servers: Any, *args: Any, **kwargs: Any) -> None:
        super().__init__(servers, *args, **kwargs)
        self._pools = self.shared.setdefault(tuple(servers), {})

    def get_client(self, key: Any = None, *, write: bool = False) -> Any:
        pool = self._get_connection_pool(write)
        client = getattr(pool, "cube_client", None)
        if client is None:
            client = pool.cube_client = self._client(connection_pool=pool)
        return client


class PooledRedisCache(RedisCache):
    def __init__(self, server: Any, params: dict[str, Any]) -> None:
        super().__init__(server, params)
        self._class = PooledClient
