"""Startup, readiness and liveness probes, and lifecycle hooks: exec, httpGet, tcpSocket, sleep."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

import aiohttp

from apps.devcluster.client import Object
from apps.devcluster.kubelet.process import StartError

Exec = Callable[[list[str], float], Awaitable[tuple[int, bytes]]]
NO_GRPC = "grpc probes are not supported by the development cluster; use exec, httpGet or tcpSocket"
HOOK_SECONDS = 3600.0


class Owner(Protocol):
    """Who is told what the probes found."""

    async def on_ready(self, ready: bool) -> None: ...
    def on_unhealthy(self, kind: str, text: str) -> None: ...
    async def on_failed(self, kind: str, grace: float | None) -> None: ...


def _port(container: Object, port: str | int) -> int:
    if isinstance(port, int) or str(port).isdigit():
        return int(port)
    named = {item.get("name"): item["containerPort"] for item in container.get("ports") or []}
    if port not in named:
        raise OSError(f'couldn\'t find port "{port}" in the container')
    return named[port]


async def act(action: dict[str, Any], container: Object, address: str, execute: Exec, seconds: float) -> str:
    """Do what a probe or hook says; empty where it went well, else why not."""
    try:
        async with asyncio.timeout(seconds):
            if "exec" in action:
                code, output = await execute(action["exec"].get("command") or [], seconds)
                return "" if code == 0 else output.decode(errors="replace").strip() or f"exit code {code}"
            if "httpGet" in action:
                return await _http(action["httpGet"], container, address)
            if "sleep" in action:
                await asyncio.sleep(action["sleep"]["seconds"])
                return ""
            if "tcpSocket" not in action:
                return NO_GRPC
            target = action["tcpSocket"]
            host = target.get("host") or address
            _, writer = await asyncio.open_connection(host, _port(container, target["port"]))
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
            return ""
    except TimeoutError:
        return f"timed out after {seconds:g}s"
    except (OSError, StartError, ValueError, aiohttp.ClientError) as error:
        return str(error) or repr(error)


async def _http(target: dict[str, Any], container: Object, address: str) -> str:
    scheme, port = (target.get("scheme") or "HTTP").lower(), _port(container, target["port"])
    url = f"{scheme}://{target.get('host') or address}:{port}/{(target.get('path') or '/').lstrip('/')}"
    headers = {item["name"]: item["value"] for item in target.get("httpHeaders") or []}
    async with (
        aiohttp.ClientSession() as session,
        session.get(url, headers=headers, ssl=False, allow_redirects=False) as response,
    ):
        good = 200 <= response.status < 400
        return "" if good else f"HTTP probe failed with statuscode: {response.status}"


async def run_hook(hook: dict[str, Any], container: Object, address: str, execute: Exec, seconds: float | None) -> str:
    """Run a lifecycle hook to its end; why it failed, or empty."""
    return await act(hook, container, address, execute, HOOK_SECONDS if seconds is None else seconds)


class Prober:
    """Runs one container's probes and tells its owner."""

    def __init__(self, container: Object, address: str, execute: Exec, owner: Owner) -> None:
        self._container, self._address, self._execute, self._owner = container, address, execute, owner

    async def run(self) -> None:
        """Startup first; then readiness and liveness side by side."""
        if self._container.get("startupProbe") and not await self._holds("startup"):
            return
        if not self._container.get("readinessProbe"):
            await self._owner.on_ready(True)
        kinds = [kind for kind in ("readiness", "liveness") if self._container.get(f"{kind}Probe")]
        await asyncio.gather(*(self._readiness() if kind == "readiness" else self._holds(kind) for kind in kinds))

    async def _ask(self, kind: str, probe: dict[str, Any]) -> bool:
        seconds = probe.get("timeoutSeconds") or 1
        text = await act(probe, self._container, self._address, self._execute, seconds)
        if text:
            self._owner.on_unhealthy(kind.capitalize(), text)
        return not text

    async def _holds(self, kind: str) -> bool:
        """False, and told, after `failureThreshold` failures in a row; startup is content with one success."""
        probe, failures = self._container[f"{kind}Probe"], 0
        await asyncio.sleep(probe.get("initialDelaySeconds") or 0)
        while failures < (probe.get("failureThreshold") or 3):
            good = await self._ask(kind, probe)
            if good and kind == "startup":
                return True
            failures = 0 if good else failures + 1
            await asyncio.sleep(probe.get("periodSeconds") or 10)
        await self._owner.on_failed(kind.capitalize(), probe.get("terminationGracePeriodSeconds"))
        return False

    async def _readiness(self) -> None:
        probe, ready, row = self._container["readinessProbe"], False, 0
        await asyncio.sleep(probe.get("initialDelaySeconds") or 0)
        while True:
            answer = await self._ask("readiness", probe)
            row = row + 1 if answer != ready else 0
            needed = (probe.get("failureThreshold") or 3) if ready else (probe.get("successThreshold") or 1)
            if row >= needed:
                ready, row = answer, 0
                await self._owner.on_ready(ready)
            await asyncio.sleep(probe.get("periodSeconds") or 10)
