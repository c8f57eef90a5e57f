"""Lines as the messages of a socket: JSON put together from parts that were encoded once per process."""

from collections.abc import Iterable, Iterator

import orjson

FRAME_BYTES = 64 * 1024
LINES = '"type":"lines"'


def frames(lines: Iterable[bytes], head: str = LINES) -> Iterator[str]:
    """The lines as messages of at most about 64 KiB, each beginning with the JSON members in `head`."""
    batch: list[bytes] = []
    size = 0
    for line in lines:
        if batch and size + len(line) > FRAME_BYTES:
            yield frame(batch, head)
            batch, size = [], 0
        batch.append(line)
        size += len(line) + 1
    if batch:
        yield frame(batch, head)


def frame(lines: Iterable[bytes], head: str = LINES) -> str:
    return f'{{{head},"lines":[{b",".join(lines).decode()}]}}'


def late(line: bytes) -> bytes:
    """A line's JSON, marked: it belongs further up, where its time puts it."""
    return line[:-1] + b',"l":1}'


def message(kind: str, **members: object) -> str:
    return orjson.dumps({"type": kind, **members}).decode()


def members(kind: str, **members: object) -> str:
    """The members of a message without its braces: a `head`."""
    return message(kind, **members)[1:-1]
