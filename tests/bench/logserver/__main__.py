"""`python -m tests.bench.logserver [PORT]`: serve on the loopback; the first line of output is the address."""

import asyncio
import gc
import sys

from aiohttp import web

from .app import LogServer

try:
    from uvloop import run
except ImportError:  # It comes with uvicorn's extras and is faster; nothing depends on it.
    from asyncio import run


async def serve(port: int) -> None:
    runner = web.AppRunner(LogServer().app, access_log=None, shutdown_timeout=0.5)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", port, backlog=2048)
    await site.start()
    gc.freeze()
    host, bound = runner.addresses[0][:2]
    sys.stdout.write(f"http://{host}:{bound}\n")
    sys.stdout.flush()
    await asyncio.Event().wait()


if __name__ == "__main__":
    run(serve(int(sys.argv[1]) if len(sys.argv) > 1 else 0))
