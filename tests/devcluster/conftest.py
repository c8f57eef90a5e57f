from __future__ import annotations

import contextlib
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from apps.devcluster.api.server import RunningApi, start_api


class Client:
    """A thin client, so that tests read as requests."""

    def __init__(self, session: aiohttp.ClientSession, base: str) -> None:
        self.session, self.base = session, base

    async def __call__(
        self, method: str, path: str, body: Any = None, *, patch: str = "", **query: str
    ) -> tuple[int, Any]:
        headers = {"Content-Type": f"application/{patch}+json"} if patch else {}
        async with self.session.request(method, self.base + path, json=body, params=query, headers=headers) as answer:
            kind = answer.content_type
            return answer.status, await (answer.json() if kind == "application/json" else answer.text())


@pytest_asyncio.fixture
async def api(tmp_path: Path) -> AsyncIterator[RunningApi]:
    running = await start_api(tmp_path / "cluster", 0, None)
    yield running
    await running.close()


@contextlib.asynccontextmanager
async def calling(api: RunningApi) -> AsyncIterator[Client]:
    context = ssl.create_default_context(cafile=str(api.kubeconfig_path.with_name("ca.crt")))
    headers = {"Authorization": f"Bearer {api.admin_token}"}
    connector = aiohttp.TCPConnector(ssl=context)
    async with aiohttp.ClientSession(connector=connector, headers=headers) as session:
        yield Client(session, api.url)


@pytest.fixture
def call_of() -> Any:
    """For tests that start, or start again, an API of their own."""
    return calling


@pytest_asyncio.fixture
async def call(api: RunningApi) -> AsyncIterator[Client]:
    async with calling(api) as client:
        yield client


@pytest.fixture
def pod() -> dict[str, Any]:
    return {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "main", "image": "busybox:1.35"}]}}
