"""What the pages of this room share: finding the pipeline, version or run of an address within its project."""

from typing import Any

import orjson
from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.utils.functional import cached_property
from django.utils.translation import gettext as _

from apps.core.errors import DomainError, InvalidInput
from apps.pipelines import selectors
from apps.pipelines.models import Pipeline, Run, Version
from apps.projects.pages import ProjectPage


class RoomPage(ProjectPage):
    """Addresses of this project's pipelines."""

    def url(self, name: str, **kwargs: Any) -> str:
        return reverse(f"pipelines:{name}", kwargs={"project": self.project.slug, **kwargs})


class OnePipeline(RoomPage):
    """Finds the pipeline of the address, or 404."""

    @cached_property
    def pipeline(self) -> Pipeline:
        pipelines = Pipeline.objects.visible_to(self.request.user).filter(project=self.project)
        return get_object_or_404(pipelines.select_related("project", "created_by"), uid=self.kwargs["uid"])

    def pipeline_url(self, name: str = "detail", **kwargs: Any) -> str:
        return self.url(name, uid=self.pipeline.uid, **kwargs)

    def version(self, number: Any = None) -> Version:
        """The version of that number, the newest without one. Raises Http404, also for what is no number."""
        text = str(number or "")
        if text and not (text.isascii() and text.isdecimal()):
            raise Http404
        version = selectors.find_version(self.pipeline, int(text[:9]) if text else None)
        if version is None:
            raise Http404
        return version


class OneRun(RoomPage):
    """Finds the run of the address, or 404."""

    @cached_property
    def run(self) -> Run:
        runs = Run.objects.visible_to(self.request.user).filter(project=self.project)
        return get_object_or_404(runs.for_lists(), uid=self.kwargs["uid"])

    def run_url(self, run: Run | None = None) -> str:
        return self.url("run", uid=(run or self.run).uid)


class Verb(RoomPage):
    """A POST that does one thing and comes back with what happened."""

    http_method_names = ["post"]

    def back(self) -> str:
        raise AssertionError("every verb says where it came from")

    def act(self, request: HttpRequest) -> str:
        """Do it, and say where to go. Raises DomainError, which is shown where the person came from."""
        raise AssertionError("every verb says what it does")

    def post(self, request: HttpRequest, **kwargs: Any) -> HttpResponse:
        try:
            return HttpResponseRedirect(self.act(request))
        except DomainError as refusal:
            messages.error(request, str(refusal))
            return HttpResponseRedirect(self.back())


def json_of(request: HttpRequest) -> dict[str, Any]:
    """The object of a request's body: strict JSON, no NaN. Raises InvalidInput."""
    try:
        value = orjson.loads(request.body)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise InvalidInput({"": _("Send a JSON object.")})
    return value
