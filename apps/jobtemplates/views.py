from collections.abc import Iterable
from typing import Any

from django.http import Http404
from django.views.generic import TemplateView

from apps.projects import access
from apps.projects.pages import ProjectPage

from . import docs, selectors
from .models import JobTemplate


def by_category(templates: Iterable[JobTemplate]) -> dict[str, list[JobTemplate]]:
    """Categories in the order in which their first template comes."""
    groups: dict[str, list[JobTemplate]] = {}
    for template in templates:
        groups.setdefault(template.category, []).append(template)
    return groups


class _TemplatePage(ProjectPage, TemplateView):
    perm = "view_project"

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        may_submit = access.can(self.request.user, "submit_job", self.project)
        return super().get_context_data(**kwargs | {"project": self.project, "may_submit": may_submit})


class TemplateGallery(_TemplatePage):
    """What can be run here, by category."""

    template_name = "jobtemplates/list.html"

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        return super().get_context_data(categories=by_category(selectors.enabled_templates()), **kwargs)


class TemplateDocs(_TemplatePage):
    """What a template takes, generated from its schema."""

    template_name = "jobtemplates/detail.html"

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        template = selectors.enabled_templates().filter(slug=self.kwargs["template"]).first()
        if template is None or template.latest is None:
            raise Http404
        doc = docs.docs_for(template.latest)
        kwargs |= {"template": template, "doc": doc, "example": docs.example_json(doc)}
        return super().get_context_data(**kwargs)
