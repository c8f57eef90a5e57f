"""What a job uses, as a fragment: its own page and the panel of a pipeline's task fetch it anew at each sample."""

from typing import Any

from django.conf import settings
from django.shortcuts import get_object_or_404
from django.utils import timezone
from django.views.generic import TemplateView

from apps.jobs.models import Job
from apps.projects.pages import ProjectPage

from . import charts, selectors
from .tasks import SAMPLE_SECONDS


class JobUsage(ProjectPage, TemplateView):
    """The newest attempt's curves and figures, and the figures of the attempts before it."""

    perm = "view_project"
    template_name = "metrics/_usage.html"

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        jobs = Job.objects.visible_to(self.request.user).filter(project=self.project)
        related = jobs.select_related("cluster").defer("cluster__kubeconfig", "params")
        job = get_object_or_404(related, uid=self.kwargs["uid"])
        usage = selectors.usage_of(job)
        return super().get_context_data(
            **{
                **kwargs,
                "job": job,
                "usage": usage,
                "drawing": charts.draw(usage, now=timezone.now()),
                "every": SAMPLE_SECONDS,
                "days": settings.CUBE_USAGE_RETENTION_DAYS,
            }
        )
