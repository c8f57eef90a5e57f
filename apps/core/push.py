"""The only door from synchronous code to browsers. A browser that misses a push catches up when it rejoins."""

import asyncio
import logging
import os
import threading
from concurrent.futures import Future
from functools import lru_cache

from asgiref.sync import async_to_sync
from channels.layers import InMemoryChannelLayer, get_channel_layer
from redis.exceptions import RedisError

logger = logging.getLogger(__name__)
MOST_WAITING = 5000  # pushes; when Redis is away, later ones are dropped rather than kept


def push(group: str, message: dict[str, object]) -> None:
    """Send a thin message to a group, without waiting for it. Losing it is allowed, so failures are only logged."""
    layer = get_channel_layer()
    if isinstance(layer, InMemoryChannelLayer):  # Tests: its queues belong to the event loop of the test.
        async_to_sync(layer.group_send)(group, message)
    elif layer is not None:
        _courier(os.getpid()).send(group, message)


@lru_cache(maxsize=1)
def _courier(pid: int) -> "Courier":
    """One per process: a forked child must not use its parent's loop."""
    return Courier()


class Courier:
    """An event loop in a thread of its own: a request or task hands its pushes over and goes on.

    Order is not promised: messages carry versions. Measured: waiting for each cost a third of a submission.
    """

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.waiting = 0
        threading.Thread(target=self.loop.run_forever, name="push", daemon=True).start()

    def send(self, group: str, message: dict[str, object]) -> None:
        if self.waiting >= MOST_WAITING:
            return
        self.waiting += 1
        asyncio.run_coroutine_threadsafe(self._deliver(group, message), self.loop).add_done_callback(self._done)

    async def _deliver(self, group: str, message: dict[str, object]) -> None:
        layer = get_channel_layer()
        try:
            await asyncio.wait_for(layer.group_send(group, message), 5)
        except (OSError, RedisError, TimeoutError) as error:
            logger.warning("push not delivered", extra={"group": group, "error": str(error)})

    def _done(self, sent: "Future[None]") -> None:
        self.waiting -= 1
