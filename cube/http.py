"""HTTP for the web process: every page and API view is synchronous, so each request runs in one thread from end to end.

Django's own ASGI handler changes between the event loop and threads for every middleware and gives each request a
thread, and so a database connection, of its own. Measured here, that was two thirds of the processor time of a
submission. Streaming answers (followed logs) are asynchronous iterators: they are sent from the event loop and hold no
thread.
"""

import asyncio
import contextvars
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from django.conf import settings
from django.core.handlers.asgi import ASGIHandler
from django.db import close_old_connections
from django.http import HttpRequest, HttpResponseBase
from servestatic.middleware import ServeStaticMiddleware


class ThreadedHandler(ASGIHandler):
    """Django behind ASGI with a fixed number of threads, each keeping its database connection."""

    def __init__(self) -> None:
        super().__init__()
        self._threads = ThreadPoolExecutor(settings.CUBE_WEB_THREADS, thread_name_prefix="request")
        self._static = ServeStaticMiddleware(self._in_thread)

    def load_middleware(self, is_async: bool = False) -> None:
        super().load_middleware(is_async=False)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self.handle(scope, receive, send)  # without ThreadSensitiveContext, which would start a thread

    async def get_response_async(self, request: HttpRequest) -> HttpResponseBase:
        response: HttpResponseBase = await self._static(request)
        return response

    async def _in_thread(self, request: HttpRequest) -> HttpResponseBase:
        context = contextvars.copy_context()
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, context.run, self._respond, request)

    def _respond(self, request: HttpRequest) -> HttpResponseBase:
        close_old_connections()  # The signal that does it is sent from the event loop's thread, not from this one.
        return self.get_response(request)
