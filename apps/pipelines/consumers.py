from typing import Any

from apps.projects.consumers import ProjectConsumer, WholeProjectConsumer

from . import selectors
from .models import Run


class RunConsumer(ProjectConsumer):
    """The live state of one run: where it and each of its tasks stand, then each change."""

    perm = "view_project"

    def find(self) -> Run | None:
        uid = self.scope["url_route"]["kwargs"]["uid"]
        return Run.objects.visible_to(self.scope["user"], self.perm).filter(uid=uid).first()

    def group_names(self) -> list[str]:
        return [f"run.{self.watched.uid}"]

    def snapshot(self) -> dict[str, object]:
        run = self.watched
        run.refresh_from_db(fields=["status", "version"])
        return {
            "type": "run.joined",
            "uid": str(run.uid),
            "status": run.status,
            "version": run.version,
            "tasks": selectors.statuses_of(run),
        }

    async def run_status_changed(self, event: dict[str, Any]) -> None:
        await self.send_json(event)

    async def run_tasks_changed(self, event: dict[str, Any]) -> None:
        await self.send_json(event)


class ProjectRunsConsumer(WholeProjectConsumer):
    """The live state of a project's runs and pipelines, for their lists."""

    topic = "runs"

    async def run_status_changed(self, event: dict[str, Any]) -> None:
        await self.send_json(event)

    async def runs_changed(self, event: dict[str, Any]) -> None:
        await self.send_json(event)

    async def pipeline_saved(self, event: dict[str, Any]) -> None:
        await self.send_json(event)
