from typing import Any

from apps.projects.consumers import ProjectConsumer
from apps.projects.models import Project

from .models import Job


class JobConsumer(ProjectConsumer):
    """The live state of one job: where it stands now, then each change. Thin: the page fetches what is protected."""

    perm = "view_project"

    def find(self) -> Job | None:
        uid = self.scope["url_route"]["kwargs"]["uid"]
        return Job.objects.visible_to(self.scope["user"], self.perm).filter(uid=uid).first()

    def group_names(self) -> list[str]:
        return [f"job.{self.watched.pk}"]

    def snapshot(self) -> dict[str, object]:
        job = self.watched
        job.refresh_from_db(fields=["status", "version"])
        return {"type": "job.status_changed", "uid": str(job.uid), "status": job.status, "version": job.version}

    async def job_status_changed(self, event: dict[str, Any]) -> None:
        await self.send_json(event)

    async def job_pods_changed(self, event: dict[str, Any]) -> None:
        await self.send_json(event)


class ProjectJobsConsumer(ProjectConsumer):
    """The live state of a project's jobs, for its list."""

    perm = "view_project"

    def find(self) -> Project | None:
        return self.visible_projects().filter(slug=self.scope["url_route"]["kwargs"]["project"]).first()

    def group_names(self) -> list[str]:
        return [f"project.{self.watched.pk}.jobs"]

    def snapshot(self) -> dict[str, object]:
        return {"type": "project.joined", "project": self.watched.slug}

    async def job_status_changed(self, event: dict[str, Any]) -> None:
        await self.send_json(event)
