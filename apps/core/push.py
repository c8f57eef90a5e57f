"""The only door from synchronous code to browsers. A browser that misses a push catches up when it rejoins."""

import asyncio
import logging
import os
import threading
from collections import deque
from functools import lru_cache

from asgiref.sync import async_to_sync
from channels.layers import InMemoryChannelLayer, get_channel_layer
from redis.exceptions import RedisError

from .channels import Message

logger = logging.getLogger(__name__)
MOST_WAITING = 5000  # pushes; when Redis is away, later ones are dropped rather than kept
TOGETHER = 200  # pushes a round trip
SEND_SECONDS = 5


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

    What is handed over while a round trip lasts goes with the next one. Order is not promised: messages carry versions.
    Measured: waiting for each cost a third of a submission.
    """

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.waiting: deque[Message] = deque()
        self._is_awake = False
        self._lock = threading.Lock()
        threading.Thread(target=self.loop.run_forever, name="push", daemon=True).start()

    def send(self, group: str, message: dict[str, object]) -> None:
        with self._lock:
            if len(self.waiting) >= MOST_WAITING:
                return
            self.waiting.append((group, message))
            if self._is_awake:
                return
            self._is_awake = True
        asyncio.run_coroutine_threadsafe(self._deliver_all(), self.loop)

    async def _deliver_all(self) -> None:
        while messages := self._take():
            await self._deliver(messages)

    def _take(self) -> list[Message]:
        """The next ones to go; with none left the courier sleeps."""
        with self._lock:
            taken = [self.waiting.popleft() for _nth in range(min(TOGETHER, len(self.waiting)))]
            self._is_awake = bool(taken)
            return taken

    async def _deliver(self, messages: list[Message]) -> None:
        try:
            await asyncio.wait_for(get_channel_layer().group_send_many(messages), SEND_SECONDS)
        except Exception as error:  # Whatever it was, the next ones are tried: nobody else would wake the courier.
            is_expected = isinstance(error, OSError | RedisError | TimeoutError)
            told = {"count": len(messages), "first": messages[0][0], "error": str(error)}
            logger.warning("pushes not delivered", exc_info=not is_expected, extra=told)
