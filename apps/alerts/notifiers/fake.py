"""In memory, for tests: what was sent, and trouble on demand."""

from .base import Message, NotifierError, Target

SENT: list[tuple[Target, Message]] = []
TROUBLE: list[NotifierError] = []


class FakeNotifier:
    """Raises what stands first in `TROUBLE`, else keeps the message in `SENT`."""

    def send(self, target: Target, message: Message) -> None:
        if TROUBLE:
            raise TROUBLE.pop(0)
        SENT.append((target, message))


def forget_all() -> None:
    SENT.clear()
    TROUBLE.clear()
