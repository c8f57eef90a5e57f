"""Startup, readiness and liveness probes: exec, httpGet and tcpSocket."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp

from apps.devcluster.client import Object

Exec = Callable[[list[str], float], Awaitable[int]]


def _port(container: Object, port: str | int) -> int:
    if isinstance(port, int) or str(port).isdigit():
        return int(port)
    named = {item.get("name"): item["containerPort"] for item in container.get("ports") or []}
    return named[port]


async def check(probe: dict[str, Any], container: Object, address: str, execute: Exec) -> bool:
    """Ask once; anything but a clear yes within the timeout is a no."""
    timeout = probe.get("timeoutSeconds") or 1
    try:
        async with asyncio.timeout(timeout):
            if "exec" in probe:
                return await execute(probe["exec"]["command"], timeout) == 0
            if "httpGet" in probe:
                return await _http(probe["httpGet"], container, address)
            target = probe["tcpSocket"]
            host = target.get("host") or address
            _, writer = await asyncio.open_connection(host, _port(container, target["port"]))
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
            return True
    except (TimeoutError, OSError, KeyError, aiohttp.ClientError):
        return False


async def _http(target: dict[str, Any], container: Object, address: str) -> bool:
    scheme, port = (target.get("scheme") or "HTTP").lower(), _port(container, target["port"])
    url = f"{scheme}://{target.get('host') or address}:{port}/{(target.get('path') or '/').lstrip('/')}"
    headers = {item["name"]: item["value"] for item in target.get("httpHeaders") or []}
    async with (
        aiohttp.ClientSession() as session,
        session.get(url, headers=headers, ssl=False, allow_redirects=False) as response,
    ):
        return 200 <= response.status < 400


class Prober:
    """Runs one container's probes: `on_ready(bool)` on changes, `on_failed(kind)` when the container must
    go.
    """

    def __init__(
        self,
        container: Object,
        address: str,
        execute: Exec,
        on_ready: Callable[[bool], Awaitable[None]],
        on_failed: Callable[[str], Awaitable[None]],
    ) -> None:
        self._container, self._address, self._execute = container, address, execute
        self._on_ready, self._on_failed = on_ready, on_failed

    async def run(self) -> None:
        """Startup first; then readiness and liveness side by side."""
        startup = self._container.get("startupProbe")
        if startup and not await self._until_failed_or(startup, first_success=True):
            await self._on_failed("Startup")
            return
        tasks = []
        if self._container.get("readinessProbe"):
            tasks.append(self._readiness(self._container["readinessProbe"]))
        else:
            await self._on_ready(True)
        if self._container.get("livenessProbe"):
            tasks.append(self._liveness(self._container["livenessProbe"]))
        await asyncio.gather(*tasks)

    async def _ask(self, probe: dict[str, Any]) -> bool:
        return await check(probe, self._container, self._address, self._execute)

    async def _until_failed_or(self, probe: dict[str, Any], *, first_success: bool) -> bool:
        """True at the first success (if asked for), False after `failureThreshold` failures in a row."""
        failures = 0
        await asyncio.sleep(probe.get("initialDelaySeconds") or 0)
        while failures < (probe.get("failureThreshold") or 3):
            if await self._ask(probe):
                failures = 0
                if first_success:
                    return True
            else:
                failures += 1
            await asyncio.sleep(probe.get("periodSeconds") or 10)
        return False

    async def _liveness(self, probe: dict[str, Any]) -> None:
        await self._until_failed_or(probe, first_success=False)
        await self._on_failed("Liveness")

    async def _readiness(self, probe: dict[str, Any]) -> None:
        ready, row = False, 0
        await asyncio.sleep(probe.get("initialDelaySeconds") or 0)
        while True:
            answer = await self._ask(probe)
            row = row + 1 if answer != ready else 0
            needed = (probe.get("failureThreshold") or 3) if ready else (probe.get("successThreshold") or 1)
            if row >= needed:
                ready, row = answer, 0
                await self._on_ready(ready)
            await asyncio.sleep(probe.get("periodSeconds") or 10)
