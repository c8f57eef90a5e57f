"""Which lines a viewer or a program wants. The same filter asked twice is one filter: viewers share what it gives.

Nothing a person writes here can cost more than linear time: regular expressions are RE2's.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from .needle import Needle

if TYPE_CHECKING:
    from .models import LogStream

# What a first error looks like in the logs of training jobs and of the runtimes below them; capitals matter.
ERROR = (
    r"\b(?:Traceback \(most recent call last\)|[A-Za-z_.]*(?:Error|Exception|Interrupt)\b|[Ff]atal error|panic:"
    r"|(?:ERROR|FATAL|CRITICAL|PANIC|Error|FAILED)\b|(?:error|fatal|critical):|[Oo]ut of memory|OutOfMemory"
    r"|OOM-?[Kk]ill|CUDA error|NCCL (?:error|WARN)|[Ss]egmentation fault|[Cc]ore dumped|[Kk]illed\b)"
)


@dataclass(frozen=True)
class Filter:
    """Empty parts choose everything. `since` is included, `until` is not; both are stamps."""

    streams: frozenset[int] = frozenset()
    pods: frozenset[str] = frozenset()
    ranks: frozenset[int] = frozenset()
    containers: frozenset[str] = frozenset()
    attempt: int | None = None
    text: str = ""
    regex: bool = False
    case: bool = False
    since: bytes = b""
    until: bytes = b""

    def has(self, stream: "LogStream") -> bool:
        return (
            (not self.streams or stream.pk in self.streams)
            and (not self.pods or stream.pod_name in self.pods)
            and (not self.ranks or stream.rank in self.ranks)
            and (not self.containers or stream.container in self.containers)
            and self.attempt in (None, stream.attempt_number)
        )

    def of(self, streams: "Iterable[LogStream]") -> "list[LogStream]":
        return [stream for stream in streams if self.has(stream)]

    @cached_property
    def needle(self) -> Needle | None:
        """Raises needle.BadNeedle."""
        return Needle(self.text, regex=self.regex, case=self.case) if self.text else None

    @property
    def takes_all(self) -> bool:
        """Whether it wants every line of the streams it has."""
        return not (self.text or self.since or self.until)

    def wants(self, stamp: bytes, text: bytes) -> bool:
        if stamp < self.since or (self.until and stamp >= self.until):
            return False
        return self.needle is None or self.needle.search(text) is not None
