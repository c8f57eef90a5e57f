from dataclasses import dataclass


@dataclass(frozen=True)
class AlertsChanged:
    """Incidents, rules, channels or messages of a project changed. Thin: who shows them looks again."""

    project_id: int


@dataclass(frozen=True)
class DeliveriesQueued:
    """Messages wait to be sent. One event for all that one look made."""

    delivery_ids: tuple[int, ...]
