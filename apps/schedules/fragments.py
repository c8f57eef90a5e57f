"""What pages of rooms below show of schedules: they ask for it by the URL's name, and know nothing of this room."""

from typing import Any

from django.shortcuts import get_object_or_404
from django.views.generic import TemplateView

from apps.pipelines.models import Pipeline, Run
from apps.projects.pages import ProjectPage

from .models import Schedule, Slot

SHOWN = 50


class OfRun(ProjectPage, TemplateView):
    """Which time of which schedule a run is of; empty for a run that a person started."""

    perm = "view_project"
    template_name = "schedules/_of_run.html"

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        runs = Run.objects.visible_to(self.request.user).filter(project=self.project)
        run = get_object_or_404(runs.only("pk"), uid=self.kwargs["uid"])
        slots = Slot.objects.visible_to(self.request.user).filter(run=run).select_related("schedule", "backfill")
        return super().get_context_data(slot=slots.first(), **kwargs)


class OfPipeline(ProjectPage, TemplateView):
    """The schedules that run a pipeline, the next one first."""

    perm = "view_project"
    template_name = "schedules/_of_pipeline.html"

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        pipelines = Pipeline.objects.visible_to(self.request.user).filter(project=self.project)
        pipeline = get_object_or_404(pipelines.only("uid", "is_archived"), uid=self.kwargs["uid"])
        mine = Schedule.objects.visible_to(self.request.user).filter(pipeline=pipeline).for_lists()
        found = list(mine.order_by("is_paused", "next_logical_at", "name")[: SHOWN + 1])
        return super().get_context_data(
            pipeline=pipeline, schedules=found[:SHOWN], has_more=len(found) > SHOWN, **kwargs
        )
