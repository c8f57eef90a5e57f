"""What a sink takes and how it fails."""

from dataclasses import dataclass
from typing import NamedTuple, Protocol


class SinkError(Exception):
    """The sink did not take what it was given; the message is for operators."""


class Unavailable(SinkError):
    """It may take the same later: it is away, slow, busy, or does not know us."""


class Refused(SinkError):
    """It will never take this as it is: too large, or something in it is wrong."""


@dataclass(frozen=True)
class Labels:
    """Where a stream's lines come from. `uid` names the stream for ever: pod uid, container and restart."""

    project: str
    job: str
    job_name: str
    pod: str
    rank: int | None
    container: str
    attempt: int
    restart: int
    uid: str


class Shipped(NamedTuple):
    """One record on its way. `kind`: line, part (the next record continues it) or gap (lines may be missing)."""

    stream: int
    ordinal: int
    stamp: str
    kind: str
    text: bytes
    labels: Labels


class Sink(Protocol):
    def send(self, records: list[Shipped]) -> str:
        """Returns once the records are safe there: "", or what it said of some that it will never take.

        Raises Unavailable (try all again) or Refused (it took none, and a part of them may be welcome).
        """

    def close(self) -> None: ...
