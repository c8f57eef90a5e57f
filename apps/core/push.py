"""The only door from synchronous code to browsers. A browser that misses a push catches up when it rejoins."""

import logging

from asgiref.sync import async_to_sync
from channels.layers import get_channel_layer
from redis.exceptions import RedisError

logger = logging.getLogger(__name__)


def push(group: str, message: dict[str, object]) -> None:
    """Send a thin message to a group. Losing it is allowed, so an unreachable channel layer is only logged."""
    layer = get_channel_layer()
    if layer is None:
        return
    try:
        async_to_sync(layer.group_send)(group, message)
    except (OSError, RedisError) as error:
        logger.warning("push not delivered", extra={"group": group, "error": str(error)})
