from typing import Any

from apps.projects.consumers import WholeProjectConsumer


class ProjectAlertsConsumer(WholeProjectConsumer):
    """That something about a project's alerts changed. Thin: the page fetches what it shows."""

    topic = "alerts"

    async def alerts_changed(self, event: dict[str, Any]) -> None:
        await self.send_json(event)
