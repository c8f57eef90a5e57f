"""Threads for reading logs, apart from the few that the rest of a web process shares."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import ParamSpec, TypeVar

READERS, SEARCHERS = 4, 2
Result = TypeVar("Result")
Params = ParamSpec("Params")
_readers = ThreadPoolExecutor(READERS, "logs-read")
_searchers = ThreadPoolExecutor(SEARCHERS, "logs-find")


async def in_thread(function: Callable[Params, Result], *args: Params.args, **kwargs: Params.kwargs) -> Result:
    """For what takes milliseconds: a page of a log."""
    return await asyncio.get_running_loop().run_in_executor(_readers, partial(function, *args, **kwargs))


async def in_search(function: Callable[Params, Result], *args: Params.args, **kwargs: Params.kwargs) -> Result:
    """For what may take seconds: it must not keep anybody from reading."""
    return await asyncio.get_running_loop().run_in_executor(_searchers, partial(function, *args, **kwargs))
