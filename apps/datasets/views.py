from typing import Any

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.views.generic import TemplateView

from apps.clusters.selectors import default_cluster
from apps.projects.pages import ProjectPage

from . import services
from .selectors import workspace_of


class WorkspacePage(ProjectPage, TemplateView):
    """What is in the project's shared folder, as last seen."""

    perm = "view_project"
    template_name = "datasets/workspace.html"

    def get_template_names(self) -> list[str]:
        return ["datasets/_files.html"] if self.request.htmx else [self.template_name]

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        cluster = default_cluster()
        return super().get_context_data(cluster=cluster, workspace=workspace_of(self.project, cluster), **kwargs)


class Refresh(ProjectPage, TemplateView):
    """Ask for a fresh listing. Any member may: it reads only, and one runs at a time."""

    perm = "view_project"
    http_method_names = ["post"]

    def post(self, request: HttpRequest, **kwargs: Any) -> HttpResponse:
        if cluster := default_cluster():
            services.request_listing(project=self.project, cluster=cluster, actor=request.user)
        return HttpResponseRedirect(reverse("datasets:workspace", kwargs={"project": self.project.slug}))
