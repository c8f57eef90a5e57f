"""Lines as bytes for a program: the text the containers wrote, or one JSON object a line."""

from collections.abc import Iterable
from dataclasses import asdict
from typing import Any, Protocol

import orjson

from .lines import GAP, KIND_WORDS, PART, Line, gap_of
from .models import LogStream


class Form(Protocol):
    """Writes lines. It is told of the streams they come from before it gets one."""

    def meet(self, streams: Iterable[LogStream]) -> None: ...

    def __call__(self, line: Line) -> bytes: ...


class Text:
    """Lines as the containers wrote them; with `[pod]` or `[rank]` in front when there are several streams.

    A gap row stands between dashes, so that it is not taken for the container's.
    """

    def __init__(self, *, timestamps: bool = False) -> None:
        self._timestamps = timestamps
        self._names: dict[int, bytes] = {}
        self._inside: set[int] = set()  # streams whose long line is not finished

    def meet(self, streams: Iterable[LogStream]) -> None:
        known = list(streams)
        self._names = {stream.pk: f"[{_name_of(stream, known)}] ".encode() for stream in known}
        if len(known) < 2:
            self._names = dict.fromkeys(self._names, b"")

    def __call__(self, line: Line) -> bytes:
        head = self._names[line.stream] + (line.stamp + b" " if self._timestamps else b"")
        continues = line.stream in self._inside
        self._inside.discard(line.stream)
        if line.kind == GAP:
            return (b"\n" if continues else b"") + head + b"--- " + gap_of(line.text).text.encode() + b" ---\n"
        if line.kind == PART:
            self._inside.add(line.stream)
        return (b"" if continues else head) + line.text + (b"" if line.kind == PART else b"\n")


def _name_of(stream: LogStream, streams: list[LogStream]) -> str:
    """The shortest name that tells it from the others."""
    pod = stream.pod_name if stream.rank is None else str(stream.rank)
    several = {other.container for other in streams if other.pod_uid == stream.pod_uid} != {stream.container}
    return pod + (f"/{stream.container}" if several else "") + (f"#{stream.restart}" if stream.restart else "")


class Ndjson:
    """One object a line: where it is from, `stream` and `line` (its cursor), time, text, and kind if it is special."""

    def __init__(self) -> None:
        self._heads: dict[int, dict[str, Any]] = {}

    def meet(self, streams: Iterable[LogStream]) -> None:
        for stream in streams:
            self._heads[stream.pk] = {
                "pod": stream.pod_name,
                "container": stream.container,
                "rank": stream.rank,
                "restart": stream.restart,
                "attempt": stream.attempt_number,
                "stream": stream.pk,
            }

    def __call__(self, line: Line) -> bytes:
        message = {
            "time": line.stamp.decode(),
            **self._heads[line.stream],
            "line": line.ordinal,
            "text": line.text.decode("utf-8", "replace"),
        }
        if word := KIND_WORDS.get(line.kind):
            message["kind"] = word
        if line.kind == GAP:
            gap = gap_of(line.text)
            message |= {"text": gap.text, "gap": asdict(gap)}
        return orjson.dumps(message, option=orjson.OPT_APPEND_NEWLINE)
