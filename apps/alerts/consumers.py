from typing import Any

from apps.projects.consumers import ProjectConsumer
from apps.projects.models import Project


class ProjectAlertsConsumer(ProjectConsumer):
    """That something about a project's alerts changed. Thin: the page fetches what it shows."""

    perm = "view_project"

    def find(self) -> Project | None:
        return self.visible_projects().filter(slug=self.scope["url_route"]["kwargs"]["project"]).first()

    def group_names(self) -> list[str]:
        return [f"project.{self.watched.pk}.alerts"]

    def snapshot(self) -> dict[str, object]:
        return {"type": "project.joined", "project": self.watched.slug}

    async def alerts_changed(self, event: dict[str, Any]) -> None:
        await self.send_json(event)
