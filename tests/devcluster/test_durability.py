"""What was acknowledged is there after a kill -9, and what was deleted stays deleted."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import threading
from pathlib import Path

import aiohttp

from apps.devcluster.client import ApiError, Client, Resource
from tests.devcluster.process import Cluster

MAPS = Resource("configmaps", kind="ConfigMap")


def write_until_it_dies(cluster: Cluster, kept: set[str], gone: set[str], enough: threading.Event) -> None:
    """Create and delete by turns, noting only what was answered."""

    async def write() -> None:
        client = Client(str(cluster.data_dir / "api.sock"), "inside")
        with contextlib.suppress(aiohttp.ClientError, OSError, ApiError):
            for number in range(100_000):
                name = f"m-{number}"
                await client.create(MAPS, "default", {"metadata": {"name": name}, "data": {"n": str(number)}})
                kept.add(name)
                if number % 3 == 0:
                    kept.discard(name)  # whether it is there is open until the answer
                    await client.delete(MAPS, "default", name)
                    gone.add(name)
                if number == 300:
                    enough.set()
        await client.close()

    asyncio.run(write())


def test_a_kill_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path / "dc")
    kept: set[str] = set()
    gone: set[str] = set()
    enough = threading.Event()
    writer = threading.Thread(target=write_until_it_dies, args=(cluster, kept, gone, enough))
    writer.start()
    assert enough.wait(30)
    cluster.end(signal.SIGKILL)
    writer.join(30)

    cluster.start()
    found = {item["metadata"]["name"]: item for item in cluster.do("list", MAPS, "default")[0]}
    cluster.end()

    assert len(kept) > 190
    assert kept - set(found) == set()
    assert gone & set(found) == set()
    assert all(found[name]["data"] == {"n": name.removeprefix("m-")} for name in kept)
