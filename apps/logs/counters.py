"""What a collector knows of its own work."""

from dataclasses import dataclass


@dataclass
class Counters:
    """Of one cluster's collector since it started; what is a state and no count is said so."""

    following: int = 0  # now
    waiting: int = 0  # now: streams without an open follow
    polling: int = 0  # now: streams read once a second, since their node has no room for another follow
    requests: int = 0
    reconnects: int = 0
    gaps: int = 0
    lines: int = 0
    bytes: int = 0
    commits: int = 0
    pending_bytes: int = 0  # now: read and not yet stored
    lag_seconds: float = 0.0  # now: the greatest of any stream, from a line's stamp to its arrival
    budget_used: float = 0.0  # now: share of the requests a second that may be made, 0 to 1
    problem: str = ""  # now: a sentence for operators
