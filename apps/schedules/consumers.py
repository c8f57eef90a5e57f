from typing import Any

from apps.projects.consumers import ProjectConsumer

from .models import Schedule


class ScheduleConsumer(ProjectConsumer):
    """That something about a schedule or its slots changed. Thin: the page fetches what is protected."""

    perm = "view_project"

    def find(self) -> Schedule | None:
        uid = self.scope["url_route"]["kwargs"]["uid"]
        return Schedule.objects.visible_to(self.scope["user"], self.perm).filter(uid=uid).first()

    def group_names(self) -> list[str]:
        return [f"project.{self.watched.project_id}.schedules"]

    def snapshot(self) -> dict[str, object]:
        return {"type": "schedule.joined", "uid": str(self.watched.uid)}

    async def schedules_changed(self, event: dict[str, Any]) -> None:
        """Of all schedules of the project that changed, a page hears only of its own."""
        uid = str(self.watched.uid)
        if uid in event["uids"]:
            await self.send_json({"type": "schedule.changed", "uid": uid})
