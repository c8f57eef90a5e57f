"""The object store: versioned objects in memory, a history to resume watches from, SQLite underneath.

Everything runs on one event loop, so a change is atomic as long as it does not await. Objects in the store are never
mutated: a change stores a new dict. What was replaced, and kinds that are many and seldom read, are kept as bytes only:
parsed, an object takes several times as much. A change is visible at once; whoever answers a client first awaits
`committed()`, so that a kill loses nothing that was acknowledged (one transaction serves all changes made meanwhile:
group commit).
"""

from __future__ import annotations

import asyncio
import itertools
import sqlite3
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

HISTORY, HISTORY_BYTES = 8192, 32 << 20  # of each resource; whichever is reached first
COLD = {"events"}
# After a restart the counter jumps: versions handed out but not committed are never handed out twice.
RESTART_GAP = 1000
FIRST_VERSION = 100

Object = dict[str, Any]
Key = tuple[str, str]  # (namespace or "", name)


class Stored:
    """An object and its bytes: most answers are the bytes as they are."""

    __slots__ = ("_obj", "raw", "version")

    def __init__(self, obj: Object | None, raw: bytes, version: int) -> None:
        self._obj, self.raw, self.version = obj, raw, version

    @property
    def obj(self) -> Object:
        """The object; where only the bytes are kept, a new copy each time."""
        return orjson.loads(self.raw) if self._obj is None else self._obj

    def cool(self) -> None:
        """Keep only the bytes."""
        self._obj = None


@dataclass(slots=True, frozen=True)
class Event:
    type: str
    version: int
    resource: str
    key: Key
    now: Stored
    before: Stored | None


@dataclass(slots=True, eq=False)
class _Table:
    objects: dict[Key, Stored] = field(default_factory=dict)
    by_namespace: dict[str, dict[str, Stored]] = field(default_factory=dict)
    history: deque[Event] = field(default_factory=deque)
    history_bytes: int = 0
    forgotten: int = 0
    listeners: list[Callable[[Event], None]] = field(default_factory=list)

    def remember(self, event: Event) -> None:
        """Add to the history, and forget what it has no room for."""
        self.history.append(event)
        self.history_bytes += len(event.now.raw)
        while len(self.history) > HISTORY or self.history_bytes > HISTORY_BYTES:
            oldest = self.history.popleft()
            self.history_bytes -= len(oldest.now.raw)
            self.forgotten = oldest.version


class Store:
    def __init__(self, path: Path | None) -> None:
        self._tables: dict[str, _Table] = {}
        self._observers: list[Callable[[Event], None]] = []
        self._dependents: dict[str, set[tuple[str, Key]]] = {}
        self._by_uid: dict[str, tuple[str, Key]] = {}
        self._dirty: dict[tuple[str, str, str], bytes | None] = {}
        self._flushing: asyncio.Future[None] | None = None
        self._next: asyncio.Future[None] | None = None
        self._writer = ThreadPoolExecutor(1, "devcluster-store")
        self._db = self._writer.submit(_open, path).result()
        self.version = FIRST_VERSION
        self._load()
        self._floor = self.version

    # Reading

    def get(self, resource: str, namespace: str, name: str) -> Stored | None:
        table = self._tables.get(resource)
        return table.objects.get((namespace, name)) if table else None

    def by_uid(self, uid: str) -> tuple[str, Key] | None:
        return self._by_uid.get(uid)

    def dependents(self, uid: str) -> list[tuple[str, Key]]:
        """What names this uid as an owner."""
        return list(self._dependents.get(uid, ()))

    def items(self, resource: str, namespace: str = "") -> list[tuple[Key, Stored]]:
        """Objects in the order of their keys, as etcd keeps them."""
        table = self._table(resource)
        if namespace:
            found = table.by_namespace.get(namespace, {})
            return [((namespace, name), found[name]) for name in sorted(found)]
        return sorted(table.objects.items(), key=lambda item: item[0])

    def each(self, resource: str, namespace: str = "") -> Iterator[Object]:
        table = self._table(resource)
        found = table.by_namespace.get(namespace, {}) if namespace else table.objects
        return (stored.obj for stored in list(found.values()))

    def resources(self) -> list[str]:
        return [name for name, table in self._tables.items() if table.objects]

    # Changing

    def put(self, resource: str, key: Key, obj: Object) -> Stored:
        """Create or replace; the object gets the next resourceVersion (its metadata is the caller's fresh dict)."""
        self.version += 1
        obj["metadata"]["resourceVersion"] = str(self.version)
        stored = Stored(obj, _packed(obj), self.version)
        before = self._table(resource).objects.get(key)
        self._index(resource, key, before, stored)
        self._publish(Event("MODIFIED" if before else "ADDED", self.version, resource, key, stored, before))
        return stored

    def remove(self, resource: str, key: Key, last: Stored | None = None) -> Stored:
        """Take the object away; watchers see its last state (or `last`) under the version of the removal."""
        before = self._table(resource).objects[key]
        self.version += 1
        final = (last or before).obj
        obj = {**final, "metadata": {**final["metadata"], "resourceVersion": str(self.version)}}
        last = Stored(obj, _packed(obj), self.version)
        self._index(resource, key, before, None)
        self._publish(Event("DELETED", self.version, resource, key, last, before))
        return last

    async def committed(self) -> None:
        """Wait until every change made so far is on disk. Shielded: one client's leaving must not fail the others."""
        await asyncio.shield(self._commit())

    def _commit(self) -> asyncio.Future[None]:
        loop = asyncio.get_running_loop()
        if not self._dirty:
            if self._flushing is not None:
                return self._flushing
            done = loop.create_future()
            done.set_result(None)
            return done
        if self._next is None:
            self._next = loop.create_future()
            if self._flushing is None:
                loop.call_soon(self._flush)
        return self._next

    async def close(self) -> None:
        await self.committed()
        await asyncio.get_running_loop().run_in_executor(self._writer, self._db.close)
        self._writer.shutdown()

    # Watching

    def subscribe(self, resource: str, listener: Callable[[Event], None]) -> Callable[[], None]:
        """Call `listener` for each later change of one resource; returns the way to stop."""
        listeners = self._table(resource).listeners
        listeners.append(listener)
        return lambda: listeners.remove(listener) if listener in listeners else None

    def observe(self, observer: Callable[[Event], None]) -> None:
        """Call `observer` for each later change of anything (quota upkeep, garbage collection)."""
        self._observers.append(observer)

    def since(self, resource: str, version: int) -> list[Event] | None:
        """Changes after `version`, or None when some of them are no longer remembered."""
        table = self._table(resource)
        if version < max(self._floor, table.forgotten):
            return None
        newest_first = itertools.takewhile(lambda event: event.version > version, reversed(table.history))
        return list(newest_first)[::-1]

    # Inside

    def _table(self, resource: str) -> _Table:
        table = self._tables.get(resource)
        if table is None:
            table = self._tables[resource] = _Table()
        return table

    def _index(self, resource: str, key: Key, before: Stored | None, now: Stored | None) -> None:
        table, (namespace, name) = self._table(resource), key
        if before is not None:
            self._forget_owners(resource, key, before.obj["metadata"])
        if now is None:
            del table.objects[key]
            table.by_namespace[namespace].pop(name)
            self._by_uid.pop(before.obj["metadata"].get("uid", ""), None) if before else None
        else:
            table.objects[key] = now
            table.by_namespace.setdefault(namespace, {})[name] = now
            metadata = now.obj["metadata"]
            self._by_uid[metadata.get("uid", "")] = (resource, key)
            for owner in metadata.get("ownerReferences") or ():
                self._dependents.setdefault(owner.get("uid", ""), set()).add((resource, key))
        self._dirty[resource, namespace, name] = now.raw if now else None

    def _forget_owners(self, resource: str, key: Key, metadata: Object) -> None:
        for owner in metadata.get("ownerReferences") or ():
            known = self._dependents.get(owner.get("uid", ""))
            if known is not None:
                known.discard((resource, key))
                if not known:
                    del self._dependents[owner.get("uid", "")]

    def _publish(self, event: Event) -> None:
        table = self._tables[event.resource]
        table.remember(event)
        for listener in list(table.listeners):
            listener(event)
        for observer in self._observers:
            observer(event)
        if event.before is not None:
            event.before.cool()
        if event.type == "DELETED" or event.resource in COLD:
            event.now.cool()

    def _flush(self) -> None:
        if self._next is None:
            return
        loop = asyncio.get_running_loop()
        self._flushing, self._next = self._next, None
        batch, self._dirty = self._dirty, {}
        written = loop.run_in_executor(self._writer, _write, self._db, batch, self.version)
        written.add_done_callback(self._flushed)

    def _flushed(self, written: asyncio.Future[None]) -> None:
        flushing, self._flushing = self._flushing, None
        if flushing is None:
            return
        if (failure := written.exception()) is not None:
            flushing.set_exception(failure)
        elif not flushing.done():
            flushing.set_result(None)
        self._flush()

    def _load(self) -> None:
        rows, version = self._writer.submit(_read, self._db).result()
        for resource, namespace, name, raw in rows:
            obj = orjson.loads(raw)
            own = int(obj["metadata"].get("resourceVersion") or 0)
            self._index(resource, (namespace, name), None, Stored(None if resource in COLD else obj, raw, own))
        self._dirty.clear()
        if version:
            self.version = version + RESTART_GAP


def _packed(obj: Object) -> bytes:
    """Its JSON in no more memory than it needs: orjson's own answer keeps the buffer it was written in, which may be
    several times as large.
    """
    return bytes(memoryview(orjson.dumps(obj)))


def _open(path: Path | None) -> sqlite3.Connection:
    db = sqlite3.connect(path or ":memory:", check_same_thread=False, isolation_level=None)
    # NORMAL in WAL mode: a killed process loses nothing, since the kernel has the pages; only a power cut may.
    db.executescript(
        """
        pragma journal_mode = wal;
        pragma synchronous = normal;
        create table if not exists objects (resource text, namespace text, name text, raw blob,
                                            primary key (resource, namespace, name)) without rowid;
        create table if not exists version (id integer primary key check (id = 1), value integer);
        """
    )
    return db


def _read(db: sqlite3.Connection) -> tuple[list[tuple[str, str, str, bytes]], int]:
    rows = db.execute("select resource, namespace, name, raw from objects").fetchall()
    found = db.execute("select value from version").fetchone()
    return rows, found[0] if found else 0


def _write(db: sqlite3.Connection, batch: dict[tuple[str, str, str], bytes | None], version: int) -> None:
    kept = [(*key, raw) for key, raw in batch.items() if raw is not None]
    gone = [key for key, raw in batch.items() if raw is None]
    db.execute("begin immediate")
    try:
        db.executemany("insert or replace into objects values (?, ?, ?, ?)", kept)
        db.executemany("delete from objects where resource = ? and namespace = ? and name = ?", gone)
        db.execute("insert or replace into version values (1, ?)", (version,))
    except BaseException:
        db.execute("rollback")
        raise
    db.execute("commit")
