"""Times as Kubernetes writes them."""

from datetime import UTC, datetime


def timestamp(moment: datetime | None = None) -> str:
    """Whole seconds, UTC."""
    return (moment or datetime.now(UTC)).strftime("%Y-%m-%dT%H:%M:%SZ")
