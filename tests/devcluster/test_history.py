"""What is forgotten and when: events by age, changes by number and bytes; and that what is kept stays exact."""

from __future__ import annotations

import tracemalloc
from datetime import UTC, datetime, timedelta

import orjson
import pytest

from apps.devcluster.api import expiry, store

pytestmark = pytest.mark.asyncio(loop_scope="function")


class TestEvents:
    PATH = "/api/v1/namespaces/default/events"

    async def write(self, call, name: str, last: str = "2099-01-01T00:00:00Z") -> None:
        about = {"kind": "Pod", "namespace": "default", "name": "p"}
        body = {"metadata": {"name": name}, "involvedObject": about, "lastTimestamp": last, "reason": "R"}
        assert (await call("POST", self.PATH, body))[0] == 201

    async def names(self, call) -> list[str]:
        return [item["metadata"]["name"] for item in (await call("GET", self.PATH))[1]["items"]]

    async def test_are_forgotten_an_hour_after_they_were_last_written(self, api, call):
        known, now, hour = expiry.Expiry(api.store), datetime.now(UTC), timedelta(hours=1)
        for name in ("old", "repeated"):
            await self.write(call, name)
        known.mark(now)
        await call("PATCH", f"{self.PATH}/repeated", {"count": 2}, patch="merge-patch")
        await self.write(call, "young")
        known.mark(now + hour)

        known.forget(before=now)
        before = await self.names(call)
        known.forget(before=now + timedelta(seconds=1))

        assert before == ["old", "repeated", "young"]
        assert await self.names(call) == ["repeated", "young"]
        known.forget(before=now + 2 * hour)
        assert await self.names(call) == []

    async def test_of_before_a_restart_are_as_old_as_they_say(self, api, call):
        await self.write(call, "future")
        await self.write(call, "now", last="2020-01-01T00:00:00Z")
        later = datetime.now(UTC) + timedelta(seconds=5)
        known = expiry.Expiry(api.store)

        known.forget(before=later - timedelta(hours=1))
        assert await self.names(call) == ["future", "now"]

        known.forget(before=later)
        assert await self.names(call) == []

    async def test_are_found_by_field_though_only_their_bytes_are_kept(self, api, call):
        await self.write(call, "one")
        await self.write(call, "two")

        async def found(selector: str) -> list[str]:
            status, answer = await call("GET", self.PATH, fieldSelector=selector)
            assert status == 200
            return [item["metadata"]["name"] for item in answer["items"]]

        assert await found("involvedObject.name=p,reason=R") == ["one", "two"]
        assert await found("involvedObject.name!=p") == []
        assert await found("reason=R,metadata.namespace!=default") == []
        assert await found("involvedObject.uid=") == ["one", "two"]
        assert await found("reason=one") == []  # though it stands elsewhere in the bytes


class TestHistory:
    """What was replaced is kept as bytes; a watch tells it as it was."""

    PATH = "/api/v1/namespaces/default/configmaps"

    async def changes(self, call, resume: str, count: int, **query: str) -> list[tuple[str, str]]:
        url, query = call.base + self.PATH, {"watch": "true", "resourceVersion": resume, **query}
        found: list[tuple[str, str]] = []
        async with call.session.get(url, params=query) as answer:
            async for line in answer.content:
                event = orjson.loads(line)
                found.append((event["type"], (event["object"].get("data") or {}).get("n", "")))
                if len(found) == count:
                    return found
        return found

    async def write(self, call, api, numbers: range, text: str = "") -> str:
        body = {"metadata": {"name": "m", "labels": {"even": ""}}, "data": {}}
        _, made = await call("POST", self.PATH, body)
        for n in numbers:
            change = {"metadata": {"labels": {"even": str(n % 2 == 0)}}, "data": {"n": str(n), "text": text}}
            assert (await call("PATCH", f"{self.PATH}/m", change, patch="merge-patch"))[0] == 200
        return made["metadata"]["resourceVersion"]

    async def test_is_exact_with_and_without_a_selector(self, api, call):
        first = await self.write(call, api, range(4))
        await call("DELETE", f"{self.PATH}/m")

        assert await self.changes(call, first, 5) == [
            ("MODIFIED", "0"),
            ("MODIFIED", "1"),
            ("MODIFIED", "2"),
            ("MODIFIED", "3"),
            ("DELETED", "3"),
        ]
        assert await self.changes(call, first, 4, labelSelector="even=True") == [
            ("ADDED", "0"),
            ("DELETED", "0"),
            ("ADDED", "2"),
            ("DELETED", "2"),
        ]

    async def test_takes_no_more_memory_than_its_bytes(self, api, call):
        tracemalloc.start()
        try:
            await self.write(call, api, range(20), "x" * 3000)
            found = tracemalloc.take_snapshot().filter_traces([tracemalloc.Filter(True, store.__file__)])
        finally:
            tracemalloc.stop()

        # One of the versions is parsed; all are said twice in memory only while they wait to be written.
        assert sum(trace.size for trace in found.traces) < 2 * 20 * 3500

    async def test_ends_where_its_bytes_do(self, api, call, monkeypatch):
        monkeypatch.setattr(store, "HISTORY_BYTES", 100_000)
        first = await self.write(call, api, range(8), "x" * 30_000)
        current = api.store.get("configmaps", "default", "m").version

        assert api.store.since("configmaps", current - 4) is None
        kept = [event.version for event in api.store.since("configmaps", current - 3)]
        assert kept == [current - 2, current - 1, current]
        assert await self.changes(call, first, 1) == [("ERROR", "")]
        assert await self.changes(call, str(current - 3), 3) == [
            ("MODIFIED", "5"),
            ("MODIFIED", "6"),
            ("MODIFIED", "7"),
        ]
