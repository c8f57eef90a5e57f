"""What a notifier takes and how it fails."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol


class NotifierError(Exception):
    """The message was not taken; the text is for the people of the project and names no secret."""


class Unavailable(NotifierError):
    """It may be taken later: the other side is away, slow or busy."""


class Refused(NotifierError):
    """It will never be taken as it is."""


@dataclass(frozen=True)
class Target:
    """Where to. Secrets stay out of its repr, and so out of logs."""

    addresses: tuple[str, ...] = ()
    url: str = field(default="", repr=False)
    signing_secret: str = field(default="", repr=False)


@dataclass(frozen=True)
class Message:
    """`key` is the same however often the message is sent."""

    key: str
    subject: str
    text: str
    payload: Mapping[str, Any]


class Notifier(Protocol):
    def send(self, target: Target, message: Message) -> None:
        """Raises Unavailable or Refused. Once it returns, the other side has the message."""
