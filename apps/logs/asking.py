"""What a viewer may say on the socket, each part checked. Nothing here trusts what it reads.

`Malformed` is what no viewer of ours sends; `Refused` is a wish that a person can put right.
"""

from dataclasses import dataclass, field
from typing import Any

from django.utils.translation import gettext as _

from .filters import Filter
from .lines import NoStamp, normal_stamp
from .needle import BadNeedle, Needle

TAIL, PAGE = 1000, 500
MOST_LINES = 10_000
MOST_NAMES = 5000
LONGEST_NAME = 253
LARGEST = (1 << 63) - 1
PARTS = frozenset({"streams", "pods", "ranks", "containers", "attempt", "text", "regex", "case", "since", "until"})


class Malformed(ValueError):
    """The viewer sent what no viewer of ours sends."""


class Refused(ValueError):
    """The viewer asked for what cannot be; `field` says which part, the message why."""

    def __init__(self, id_: int | None, field_: str, text: str) -> None:
        super().__init__(text)
        self.id, self.field = id_, field_


@dataclass(frozen=True)
class Resume:
    cursors: dict[int, int]
    chosen: Filter


@dataclass(frozen=True)
class Show:
    """One of `line`, `time`, `edge` ("tail", "head", "error") is set. Without `chosen` the filter in force stays."""

    id: int | None = None
    chosen: Filter | None = None
    edge: str = ""
    line: tuple[int, int] | None = None
    time: bytes = b""
    count: int = TAIL


@dataclass(frozen=True)
class More:
    is_older: bool
    cursors: dict[int, int] = field(default_factory=dict)
    count: int = PAGE


@dataclass(frozen=True)
class Find:
    id: int | None
    needle: Needle
    place: tuple[bytes, int, int] | None
    direction: int


@dataclass(frozen=True)
class Whole:
    line: tuple[int, int]


Wish = Resume | Show | More | Find | Whole


def parse(content: Any) -> Wish:
    """Raises Malformed, Refused."""
    if not isinstance(content, dict):
        raise Malformed
    match content.get("type"):
        case "resume":
            return Resume(_cursors(content), _filter(content))
        case "show":
            return _show(content)
        case "latest":
            return Show(id=_id(content), edge="tail", count=_count(content, TAIL))
        case "before" | "after" as kind:
            return More(kind == "before", _cursors(content), _count(content, PAGE))
        case "find":
            return _find(content)
        case "whole":
            return Whole(_place(content.get("line")))
    raise Malformed


def _show(content: dict[str, Any]) -> Show:
    at = content.get("at", {"tail": True})
    if not isinstance(at, dict) or len(at) != 1:
        raise Malformed
    common = {"id": _id(content), "chosen": _filter(content), "count": _count(content, TAIL)}
    match next(iter(at.items())):
        case ("tail" | "head" | "error") as edge, True:
            return Show(edge=edge, **common)
        case "line", place:
            return Show(line=_place(place), **common)
        case "time", stamp:
            return Show(time=_stamp(stamp, common["id"], "at.time"), **common)
    raise Malformed


def _find(content: dict[str, Any]) -> Find:
    id_, direction, start = _id(content), content.get("direction", 1), content.get("from")
    if direction not in (1, -1) or isinstance(direction, bool):
        raise Malformed
    place = None
    if start is not None:
        if not isinstance(start, list) or len(start) != 3:
            raise Malformed
        place = (_stamp(start[0], id_, "from"), number(start[1]), number(start[2]))
    try:
        needle = Needle(_text(content, "text"), regex=_flag(content, "regex"), case=_flag(content, "case"))
    except BadNeedle as error:
        raise Refused(id_, "text", str(error)) from None
    return Find(id_, needle, place, direction)


def _filter(content: dict[str, Any]) -> Filter:
    """Its expression is compiled here, so that a bad one is told to whoever wrote it."""
    asked = content.get("filter")
    if asked is None:
        return Filter()
    if not isinstance(asked, dict) or set(asked) - PARTS:
        raise Malformed
    id_ = _id(content)
    attempt = asked.get("attempt")
    chosen = Filter(
        streams=frozenset(map(number, _list(asked, "streams"))),
        pods=frozenset(map(_name, _list(asked, "pods"))),
        ranks=frozenset(map(number, _list(asked, "ranks"))),
        containers=frozenset(map(_name, _list(asked, "containers"))),
        attempt=None if attempt is None else number(attempt),
        text=_text(asked, "text"),
        regex=_flag(asked, "regex"),
        case=_flag(asked, "case"),
        since=_stamp(asked["since"], id_, "filter.since") if asked.get("since") else b"",
        until=_stamp(asked["until"], id_, "filter.until") if asked.get("until") else b"",
    )
    try:
        _ = chosen.needle
    except BadNeedle as error:
        raise Refused(id_, "filter.regex" if chosen.regex else "filter.text", str(error)) from None
    return chosen


def _cursors(content: dict[str, Any]) -> dict[int, int]:
    cursors = content.get("cursors", {})
    if not isinstance(cursors, dict) or len(cursors) > MOST_NAMES:
        raise Malformed
    return {number(key): number(value) for key, value in cursors.items()}


def _place(value: Any) -> tuple[int, int]:
    if not isinstance(value, list) or len(value) != 2:
        raise Malformed
    return number(value[0]), number(value[1])


def _stamp(value: Any, id_: int | None, field_: str) -> bytes:
    if not isinstance(value, str):
        raise Malformed
    try:
        return normal_stamp(value[:64].encode())
    except (NoStamp, UnicodeEncodeError):
        raise Refused(id_, field_, _("This is no time Cube can read.")) from None


def _id(content: dict[str, Any]) -> int | None:
    return None if content.get("id") is None else number(content["id"])


def _count(content: dict[str, Any], usual: int) -> int:
    return min(MOST_LINES, number(content.get("count", usual)))


def _list(content: dict[str, Any], name: str) -> list[Any]:
    value = content.get(name) or []
    if not isinstance(value, list) or len(value) > MOST_NAMES:
        raise Malformed
    return value


def _name(value: Any) -> str:
    if not isinstance(value, str) or len(value) > LONGEST_NAME:
        raise Malformed
    return value


def _text(content: dict[str, Any], name: str) -> str:
    """Half a surrogate pair is JSON, but no text."""
    value = content.get(name) or ""
    if not isinstance(value, str):
        raise Malformed
    try:
        value.encode()
    except UnicodeEncodeError:
        raise Malformed from None
    return value


def _flag(content: dict[str, Any], name: str) -> bool:
    value = content.get(name, False)
    if not isinstance(value, bool):
        raise Malformed
    return value


def number(value: Any) -> int:
    """A whole number from 0 on, also as the text that JSON makes of a key."""
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise Malformed
    if isinstance(value, int):
        if not 0 <= value <= LARGEST:
            raise Malformed
        return value
    if not (value.isascii() and value.isdigit() and len(value) <= 18):
        raise Malformed
    return int(value)
