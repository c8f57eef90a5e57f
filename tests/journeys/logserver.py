"""A log server in small for the viewer's stories: the page with its real templates and policy, and the socket.

Its list of written lines is the oracle. A test may let it answer late, not at all, cut connections, or say anything.
"""

import asyncio
import itertools
import json
import re
import threading
from collections.abc import Coroutine, Iterable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from aiohttp import WSMsgType, web
from csp.constants import NONCE
from django.conf import settings
from django.template import engines

STATIC = Path(__file__).resolve().parents[2] / "static"
SHOWN_BYTES = 4096
ERROR = re.compile(r"error|exception|traceback|fatal", re.IGNORECASE)
PAGE = """{% extends "base.html" %}{% load static %}
{% block title %}log{% endblock %}
{% block scripts %}<script type="module" src="{% static 'js/joblogs.js' %}"></script>{% endblock %}
{% block body %}<main id="main" class="page-main"><div class="stack"><section id="log" data-job-log data-socket="/ws/">
{% include "components/logview.html" with empty="Waiting for the first line…" download_url="/logs/?download=1" %}
</section></div></main>{% endblock %}"""

Line = dict[str, Any]


def line(
    stream: int, ordinal: int, text: str, *, second: float = 0, kind: str = "", gap: dict[str, Any] | None = None
) -> Line:
    """A line of the oracle; `second` counts from 02:00:00 on a fixed day."""
    nanoseconds = round(second * 1e9)
    minutes, seconds = divmod(nanoseconds // 10**9, 60)
    hours, minutes = divmod(minutes, 60)
    stamp = f"2026-11-24T{2 + hours:02d}:{minutes:02d}:{seconds:02d}.{nanoseconds % 10**9:09d}Z"
    return (
        {"s": stream, "n": ordinal, "t": stamp, "m": text} | ({"k": kind} if kind else {}) | ({"g": gap} if gap else {})
    )


def numbered(count: int, *, stream: int = 1, text: str = "line {n}", first: int = 0, step: float = 1) -> list[Line]:
    return [line(stream, n, text.format(n=n), second=n * step) for n in range(first, first + count)]


def pod(stream: int, *, rank: int | None = None, container: str = "main", **more: Any) -> dict[str, Any]:
    name = f"train-{stream if rank is None else rank}"
    return {"id": stream, "pod": name, "container": container, "rank": rank, "restart": 0, "attempt": 1} | more


def as_sent(written: Line) -> Line:
    """With at most 4 KiB of text."""
    raw = written["m"].encode()
    if len(raw) <= SHOWN_BYTES:
        return written
    return written | {"m": raw[:SHOWN_BYTES].decode(errors="ignore"), "x": len(raw) - SHOWN_BYTES}


@dataclass
class Viewer:
    socket: web.WebSocketResponse
    is_live: bool = True
    filter: dict[str, Any] = field(default_factory=dict)


class LogServer:
    """Runs in a thread of its own; what tests call waits until it has happened."""

    def __init__(self, streams: Iterable[dict[str, Any]] = (), lines: Iterable[Line] = ()) -> None:
        self.streams = list(streams) or [pod(1)]
        self.lines: list[Line] = []
        self.write(lines)
        self.asked: list[dict[str, Any]] = []  # what viewers said, oldest first
        self.queries: list[dict[str, str]] = []
        self.answers_shows = self.answers_finds = True
        self.is_open = True
        self.viewers: list[Viewer] = []
        self.loop = asyncio.new_event_loop()

    # -- what tests do -----------------------------------------------------------------------------------------------
    @property
    def url(self) -> str:
        return f"http://localhost:{self.port}/"

    def write(self, lines: Iterable[Line]) -> None:
        self.lines = sorted([*self.lines, *lines], key=lambda each: (each["t"], each["s"], each["n"]))

    def push(self, lines: Iterable[Line]) -> None:
        """Written, and sent to those who follow."""
        fresh = list(lines)
        self.write(fresh)
        self.wait(self._push(fresh))

    def say(self, *messages: dict[str, Any] | str) -> None:
        self.wait(self._say([each if isinstance(each, str) else json.dumps(each) for each in messages]))

    def cut(self) -> None:
        self.wait(self._cut())

    def of_type(self, kind: str) -> list[dict[str, Any]]:
        return [each for each in self.asked if each["type"] == kind]

    def wait(self, what: Coroutine[Any, Any, None]) -> None:
        future: Future[None] = asyncio.run_coroutine_threadsafe(what, self.loop)
        future.result(60)

    # -- serving -----------------------------------------------------------------------------------------------------
    async def start(self) -> None:
        app = web.Application()
        app.router.add_get("/", self._page)
        app.router.add_get("/ws/", self._socket)
        app.router.add_static("/static/", STATIC)
        self.runner = web.AppRunner(app, shutdown_timeout=0.1, access_log=None)
        await self.runner.setup()
        site = web.TCPSite(self.runner, "127.0.0.1", 0)
        await site.start()
        self.port = self.runner.addresses[0][1]

    async def _page(self, request: web.Request) -> web.Response:
        template = engines["django"].from_string(PAGE)
        html = template.render({"request": SimpleNamespace(csp_nonce="once"), "messages": []})
        return web.Response(text=html, content_type="text/html", headers={"Content-Security-Policy": policy("once")})

    async def _socket(self, request: web.Request) -> web.StreamResponse:
        if not self.is_open:
            return web.Response(status=503)
        socket = web.WebSocketResponse(max_msg_size=1 << 20)
        await socket.prepare(request)
        viewer = Viewer(socket)
        self.queries.append(dict(request.query))
        await socket.send_json({"type": "streams", "streams": [self._counted(each) for each in self.streams]})
        if "resume" not in request.query:
            await self._send(viewer, "lines", self._of(viewer)[-int(request.query.get("tail", 1000)) :])
        self.viewers.append(viewer)
        async for message in socket:
            if message.type == WSMsgType.TEXT:
                await self._hear(viewer, json.loads(message.data))
        self.viewers.remove(viewer)
        return socket

    def _counted(self, stream: dict[str, Any]) -> dict[str, Any]:
        return {"lines": sum(each["s"] == stream["id"] for each in self.lines)} | stream

    # -- the protocol ------------------------------------------------------------------------------------------------
    async def _hear(self, viewer: Viewer, message: dict[str, Any]) -> None:
        self.asked.append(message)
        await getattr(self, f"_hear_{message['type']}")(viewer, message)

    async def _hear_resume(self, viewer: Viewer, message: dict[str, Any]) -> None:
        viewer.filter = message.get("filter", {})
        cursors = message["cursors"]
        await self._send(viewer, "lines", [e for e in self._of(viewer) if e["n"] >= cursors.get(str(e["s"]), 0)])

    async def _hear_show(self, viewer: Viewer, message: dict[str, Any]) -> None:
        if not self.answers_shows:
            return
        asked = message["filter"]
        if asked.get("regex") and (wrong := wrong_regex(asked["text"])):
            refusal = {"type": "refused", "id": message["id"], "field": "filter.regex", "message": wrong}
            await viewer.socket.send_json(refusal)
            return
        viewer.filter = asked
        await self._show(viewer, message["id"], message["at"], message["count"])

    async def _hear_latest(self, viewer: Viewer, message: dict[str, Any]) -> None:
        await self._show(viewer, None, {"tail": True}, message["count"])

    async def _show(self, viewer: Viewer, number: int | None, at: dict[str, Any], count: int) -> None:
        lines = self._of(viewer)
        focus = self._focus(lines, at)
        start = max(0, len(lines) - count) if "tail" in at else max(0, (focus or 0) - count // 2)
        window = lines[start : start + count]
        viewer.is_live = start + count >= len(lines)
        head = {} if number is None else {"id": number}
        await viewer.socket.send_json({"type": "reset"} | head)
        await viewer.socket.send_json(
            {"type": "window", "lines": [as_sent(each) for each in window]}
            | {"before": start > 0, "after": not viewer.is_live}
            | {"focus": None if focus is None else [lines[focus]["s"], lines[focus]["n"]]}
            | head
        )

    @staticmethod
    def _focus(lines: list[Line], at: dict[str, Any]) -> int | None:
        def first(wanted: Any) -> int | None:
            return next((index for index, each in enumerate(lines) if wanted(each)), None)

        if "line" in at:
            return first(lambda each: [each["s"], each["n"]] == at["line"])
        if "time" in at:
            return first(lambda each: each["t"] >= at["time"])
        return first(lambda each: ERROR.search(each["m"])) if "error" in at else None

    async def _hear_before(self, viewer: Viewer, message: dict[str, Any]) -> None:
        cursors = message["cursors"]
        begins = min((e["t"] for e in self.lines if cursors.get(str(e["s"])) == e["n"]), default="")
        lines = [
            e
            for e in self._of(viewer)
            if (e["n"] < cursors[str(e["s"])] if str(e["s"]) in cursors else e["t"] < begins)
        ]
        more = len(lines) > message["count"]
        page = lines[-message["count"] :]
        half = len(page) // 2
        for part in (page[half:], page[:half]) if half else (page,):  # newest first, each to be put in front
            await self._send(viewer, "older", part, more=more)

    async def _hear_after(self, viewer: Viewer, message: dict[str, Any]) -> None:
        cursors = message["cursors"]
        lines = [e for e in self._of(viewer) if e["n"] >= cursors.get(str(e["s"]), 0)]
        viewer.is_live = len(lines) <= message["count"]
        await self._send(viewer, "newer", lines[: message["count"]], more=not viewer.is_live)

    async def _hear_find(self, viewer: Viewer, message: dict[str, Any]) -> None:
        if not self.answers_finds:
            return
        pattern = re.compile(
            message["text"] if message["regex"] else re.escape(message["text"]), 0 if message["case"] else re.IGNORECASE
        )
        lines = self._of(viewer)
        if message["direction"] < 0:
            lines = lines[::-1]
        origin = message["from"]
        place = [(e["t"], e["s"], e["n"]) for e in lines].index(tuple(origin)) + 1 if origin else 0
        turned = [*((e, False) for e in lines[place:]), *((e, True) for e in lines[:place])]
        found, wrapped = next(((e, w) for e, w in turned if pattern.search(e["m"])), (None, False))
        answer = {"type": "found", "id": message["id"], "line": found and as_sent(found), "wrapped": wrapped}
        await viewer.socket.send_json(answer)

    async def _hear_whole(self, viewer: Viewer, message: dict[str, Any]) -> None:
        s, n = message["line"]
        text = next(e["m"] for e in self.lines if (e["s"], e["n"]) == (s, n))
        await viewer.socket.send_json({"type": "whole", "s": s, "n": n, "m": text})

    # -- parts -------------------------------------------------------------------------------------------------------
    def _of(self, viewer: Viewer) -> list[Line]:
        return [each for each in self.lines if self._passes(each, viewer.filter)]

    def _passes(self, each: Line, asked: dict[str, Any]) -> bool:
        stream = next((s for s in self.streams if s["id"] == each["s"]), {})
        flags = 0 if asked.get("case") else re.IGNORECASE
        text = asked.get("text", "")
        return (
            ("pods" not in asked or stream["pod"] in asked["pods"])
            and ("containers" not in asked or stream["container"] in asked["containers"])
            and ("attempt" not in asked or stream["attempt"] == asked["attempt"])
            and asked.get("since", "") <= each["t"]
            and ("until" not in asked or each["t"] <= asked["until"])
            and re.search(text if asked.get("regex") else re.escape(text), each["m"], flags) is not None
        )

    async def _send(self, viewer: Viewer, kind: str, lines: list[Line], **more: Any) -> None:
        await viewer.socket.send_json({"type": kind, "lines": [as_sent(each) for each in lines]} | more)

    async def _push(self, lines: list[Line]) -> None:
        for viewer in self.viewers:
            if viewer.is_live:
                await self._send(viewer, "lines", [each for each in lines if self._passes(each, viewer.filter)])

    async def _say(self, messages: list[str]) -> None:
        for viewer, message in itertools.product(self.viewers, messages):
            await viewer.socket.send_str(message)

    async def _cut(self) -> None:
        for viewer in list(self.viewers):
            await viewer.socket.close(code=1011)


def wrong_regex(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        return f"Not a regular expression: {error.msg}"
    return ""


def policy(nonce: str) -> str:
    directives = settings.CONTENT_SECURITY_POLICY["DIRECTIVES"]
    spelled = {
        name: [f"'nonce-{nonce}'" if value is NONCE else value for value in values]
        for name, values in directives.items()
    }
    return "; ".join(f"{name} {' '.join(values)}" for name, values in spelled.items())


@contextmanager
def serving(server: LogServer) -> Iterator[LogServer]:
    thread = threading.Thread(target=server.loop.run_forever, daemon=True)
    thread.start()
    server.wait(server.start())
    try:
        yield server
    finally:
        server.wait(server._cut())
        server.wait(server.runner.cleanup())
        server.loop.call_soon_threadsafe(server.loop.stop)
        thread.join(10)
        server.loop.close()
