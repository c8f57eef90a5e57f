from dataclasses import dataclass


@dataclass(frozen=True)
class DeliveriesQueued:
    """Messages wait to be sent. One event for all that one look made."""

    delivery_ids: tuple[int, ...]
