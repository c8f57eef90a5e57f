"""What the server does to those who read: every number can be changed while it runs."""

from dataclasses import dataclass, fields
from typing import Any


@dataclass
class Rules:
    """Seconds, bytes, counts. Zero, or None, switches a rule off."""

    rotate_bytes: int = 10 * 1024 * 1024
    rotate_every: float = 10.0
    cut_after: float = 0.0  # every follow ends after so long, as after a kubelet's four hours
    cut_mean: float = 0.0  # a follow is cut at random, after so long on average
    silent_after_rotation: bool = False  # a follow that meets a rotation hangs, connected
    follows_per_node: int = 0  # inotify instances
    latency: float = 0.0  # before every answer
    requests_per_second: float = 0.0  # above it: 429
    request_burst: int = 200
    send_buffer: int = 0  # of each follow's socket, so that a reader that stalls is felt soon
    bookmark_every: float = 2.0
    events_kept: int = 100_000  # older versions are expired for a watch
    keep_lines: bool = True  # the ledgers keep every line, not only counts and hashes

    def change(self, values: dict[str, Any]) -> None:
        """Raises ValueError for a rule that does not exist."""
        known = {field.name for field in fields(self)}
        if unknown := set(values) - known:
            raise ValueError(f"no such rule: {', '.join(sorted(unknown))}")
        for name, value in values.items():
            setattr(self, name, value)
