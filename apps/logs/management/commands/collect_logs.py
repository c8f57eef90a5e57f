"""The log collector. Several may run: each cluster is collected by whoever holds its lease."""

import asyncio
import signal
from typing import Any

from django.core.management.base import BaseCommand

from apps.core import heap
from apps.logs.warden import Warden


class Command(BaseCommand):
    help = "Follow the log of every container of every job into the log store, until SIGTERM or Ctrl-C."

    def handle(self, *args: Any, **options: Any) -> None:
        heap.settle()
        asyncio.run(_collect())


async def _collect() -> None:
    task = asyncio.create_task(Warden().run())
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, task.cancel)
    await asyncio.gather(task, return_exceptions=True)
