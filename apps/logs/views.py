"""Pages about logs beside the live view."""

from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from django.contrib.humanize.templatetags.humanize import intcomma
from django.shortcuts import get_object_or_404
from django.utils.functional import cached_property
from django.views.generic import TemplateView

from apps.core.errors import DomainError
from apps.jobs.models import Job
from apps.jobs.views import read_uids
from apps.projects.pages import ProjectPage

from . import health, retention, searching
from .excerpts import Excerpt, excerpt
from .forms import SearchForm

PAGE = 100
ROUNDS = 60  # pages without a line that follow each other by themselves: two minutes of looking


class Notices(ProjectPage, TemplateView):
    """What a reader of a job's log should know: a fragment its page asks for now and then."""

    perm = "view_project"
    template_name = "logs/_notices.html"

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        jobs = Job.objects.visible_to(self.request.user).filter(project=self.project)
        job = get_object_or_404(jobs.select_related("cluster").defer("cluster__kubeconfig"), uid=self.kwargs["uid"])
        collection = None if job.is_finished else health.collection_of(job.cluster)
        return super().get_context_data(
            **{
                **kwargs,
                "is_troubled": collection is not None and collection.state != "ok",
                "removed_at": retention.removed_at(job),
                "job": job,
            }
        )


@dataclass(frozen=True)
class Row:
    hit: searching.Hit
    shown: Excerpt

    @property
    def day(self) -> str:
        return self.hit.line.stamp[:10].decode()

    @property
    def clock(self) -> str:
        return self.hit.line.stamp[11:23].decode()


@dataclass
class Group:
    """What was found in one job, in a row."""

    job: Job
    rows: list[Row] = field(default_factory=list)


class LogSearch(ProjectPage, TemplateView):
    """The form, and around it what was found: pages are fragments that the page fetches one after the other."""

    perm = "view_project"

    def get_template_names(self) -> list[str]:
        return ["logs/_found.html"] if self.request.htmx else ["logs/search.html"]

    @cached_property
    def jobs(self) -> Any:
        return Job.objects.visible_to(self.request.user).filter(project=self.project)

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        asked = self.request.GET.copy()
        for name in ("cursor", "lines", "hits", "round"):
            asked.pop(name, None)
        asked.setdefault("period", SearchForm.DAY)
        form = SearchForm(asked if "q" in asked else None, initial=asked.dict())
        is_asked = form.is_bound and form.is_valid()
        context = super().get_context_data(form=form, query=asked.urlencode(), is_asked=is_asked, **kwargs)
        if self.request.htmx and is_asked:
            return {**context, **self._found(form)}
        asked.pop("job", None)
        return {**context, "job": self._job(), "without_job": asked.urlencode()}

    def _job(self) -> Job | None:
        """The one job that is searched, if it is one of this project."""
        return self.jobs.filter(uid__in=read_uids([self.request.GET.get("job", "")])).first()

    def _found(self, form: SearchForm) -> dict[str, Any]:
        asked = form.cleaned_data
        since, until = form.span()
        jobs = searching.jobs_among(self.jobs, uid=asked["job"], template=asked["template"], status=asked["status"])
        cursor = self.request.GET.get("cursor", "")
        try:
            page = searching.search(
                searching.Question(asked["needle"], jobs, since, until),
                place=searching.Place.of(cursor) if cursor else None,
                limit=PAGE,
            )
        except DomainError as refusal:
            return {"refusal": str(refusal)}
        hits, lines = self._number("hits") + len(page.hits), self._number("lines") + page.scanned.lines
        rounds = 0 if page.hits else self._number("round") + 1
        return {
            "groups": groups(page, asked["needle"]),
            "next": page.next and page.next.cursor,
            "hits": hits,
            "lines": lines,
            "told": {"hits": intcomma(hits), "lines": intcomma(lines)},
            "round": rounds,
            "goes_on": page.next is not None and not page.hits and rounds < ROUNDS,
        }

    def _number(self, name: str) -> int:
        """A sum the page carries along, for show only."""
        text = self.request.GET.get(name, "")
        return int(text) if text.isdecimal() and text.isascii() and len(text) < 16 else 0


def groups(page: searching.Page, needle: Any) -> list[Group]:
    return [
        Group(job, [Row(hit, excerpt(hit.line.text, needle)) for hit in hits])
        for job, hits in groupby(page.hits, key=lambda hit: hit.stream.job)
    ]
