from dataclasses import dataclass


@dataclass(frozen=True)
class AccessReduced:
    """A person was deactivated, lost a platform role, or a token or session of theirs ended: open sockets ask again."""

    user_id: int
