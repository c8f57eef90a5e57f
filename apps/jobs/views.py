"""Pages of jobs. Each asks its door (`ProjectPage.perm`), reads rows, and makes one service call per verb."""

import contextlib
import json
import shlex
import uuid as uuids
from typing import Any

from django.contrib import messages
from django.db.models import Count, Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.utils.functional import cached_property
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.generic import DetailView, TemplateView, View

from apps.clusters.selectors import default_cluster, unwell_clusters
from apps.core.errors import DomainError, InvalidInput
from apps.datasets.selectors import file_paths
from apps.jobtemplates import rendering
from apps.jobtemplates import selectors as templates
from apps.jobtemplates.forms import form_for
from apps.projects.models import Project
from apps.projects.pages import ProjectPage
from apps.projects.selectors import secret_references

from . import debugging, preview, services
from .choices import UNFINISHED, JobStatus
from .forms import DebugForm, JobForm, first_name, initial_from
from .models import Attempt, Job, Pod

PAGE = 50
NAMES_LOOKED_AT = 200
LINKED = ("rerun_of", "debug_of")  # jobs that a job's page names
COUNTS_HEADER = "Cube-Job-Counts"  # the project's jobs per status, as JSON, for the chips above a live list


def read_uids(texts: list[str]) -> list[uuids.UUID]:
    """The well-formed ones; anything else in an address names no job."""
    found = []
    for text in texts:
        with contextlib.suppress(ValueError):
            found.append(uuids.UUID(text))
    return found


def counts_by_status(project: Project, user: Any) -> dict[str, int]:
    """Every status, also those that no job has."""
    mine = Job.objects.visible_to(user).filter(project=project)
    found = dict(mine.order_by().values_list("status").annotate(n=Count("pk")))
    return {status: found.get(status, 0) for status in JobStatus.values}


class JobList(ProjectPage, TemplateView):
    """Newest first, filtered by status, template, person and name; pages by keyset, so depth costs nothing."""

    perm = "view_project"
    template_name = "jobs/list.html"

    def get(self, request: HttpRequest, **kwargs: Any) -> HttpResponse:
        context = self.get_context_data(**kwargs)
        answer = self.render_to_response(context)
        answer[COUNTS_HEADER] = json.dumps({status["value"]: status["count"] for status in context["statuses"]})
        return answer

    def get_template_names(self) -> list[str]:
        return ["jobs/_table.html"] if self.request.htmx else [self.template_name]

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        jobs = self._filtered(Job.objects.visible_to(self.request.user).filter(project=self.project))
        page = list(jobs.for_lists()[: PAGE + 1])
        asked = self.request.GET.copy()
        asked.pop("before", None)
        older = page[PAGE - 1].pk if len(page) > PAGE else None
        return super().get_context_data(
            jobs=page[:PAGE],
            older=older,
            is_first_page="before" not in self.request.GET,
            unwell=unwell_clusters(),
            query=asked.urlencode(),
            statuses=self._counts(),
            chosen_statuses=self.request.GET.getlist("status"),
            search=self.request.GET.get("search", ""),
            mine="mine" in self.request.GET,
            template_choices=templates.enabled_templates(),
            chosen_template=self.request.GET.get("template", ""),
            is_filtered=any(self.request.GET.get(key) for key in ("status", "search", "mine", "template")),
            **kwargs,
        )

    def _filtered(self, jobs: QuerySet[Job]) -> QuerySet[Job]:
        asked = self.request.GET
        if chosen := set(asked.getlist("status")) & set(JobStatus.values):
            jobs = jobs.filter(status__in=chosen)
        if search := asked.get("search", "").strip()[:63]:
            jobs = jobs.filter(name__icontains=search)
        if "mine" in asked:
            jobs = jobs.filter(submitted_by=self.request.user)
        if template := asked.get("template"):
            jobs = jobs.filter(template_version__template__slug=template)
        if (before := asked.get("before", "")).isdecimal():
            jobs = jobs.filter(pk__lt=int(before[:18]))
        return jobs.order_by("-pk")

    def _counts(self) -> list[dict[str, Any]]:
        counts = counts_by_status(self.project, self.request.user)
        return [{"value": s.value, "label": s.label, "count": counts[s.value]} for s in JobStatus]


class JobRows(ProjectPage, View):
    """Fresh rows of named jobs: what the live list fetches when its socket says that something changed."""

    perm = "view_project"

    def get(self, request: HttpRequest, **kwargs: Any) -> HttpResponse:
        uids = read_uids(request.GET.getlist("uid")[:PAGE])
        jobs = Job.objects.visible_to(request.user).filter(project=self.project, uid__in=uids)
        rows = jobs.for_lists()
        answer = render(
            request, "jobs/_rows.html", {"jobs": rows, "project": self.project, "permissions": self.permissions}
        )
        answer[COUNTS_HEADER] = json.dumps(counts_by_status(self.project, request.user))
        return answer


class OneJob(ProjectPage):
    """Finds the job of the address within the project, or 404."""

    @cached_property
    def job(self) -> Job:
        jobs = Job.objects.visible_to(self.request.user).filter(project=self.project)
        related = ("project", "cluster", "resource_group", "template_version__template", "submitted_by")
        jobs = jobs.select_related(*related, *LINKED).defer("cluster__kubeconfig")
        return get_object_or_404(jobs, uid=self.kwargs["uid"])

    def job_url(self, job: Job | None = None) -> str:
        return reverse("jobs:detail", kwargs={"project": self.project.slug, "uid": (job or self.job).uid})


class JobDetail(OneJob, DetailView):
    perm = "view_project"
    template_name = "jobs/detail.html"

    def get_object(self, queryset: Any = None) -> Job:
        return self.job

    def get_template_names(self) -> list[str]:
        return ["jobs/_state.html"] if self.request.htmx else [self.template_name]

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        attempts = list(self.job.attempts.prefetch_related("pods").order_by("-number"))
        return super().get_context_data(
            job=self.job,
            attempts=attempts,
            pod_count=sum(len(attempt.pods.all()) for attempt in attempts),
            waiting_pod=_waiting(attempts[0]) if attempts else None,
            events=self.job.events.select_related("actor").order_by("-id"),
            reruns=self.job.reruns.order_by("-id")[:5],
            debug_form=DebugForm(),
            **kwargs,
        )


def _waiting(attempt: Attempt) -> Pod | None:
    """The first pod that something holds up, of an attempt that runs."""
    return next((pod for pod in attempt.pods.all() if pod.phase == "Pending" and pod.reason), None)


class JobYaml(OneJob, View):
    """The manifests of a job: a fragment for its page, or a file to apply."""

    perm = "view_project"

    def get(self, request: HttpRequest, **kwargs: Any) -> HttpResponse:
        text = preview.as_yaml(preview.manifests_of(self.job))
        if "download" in request.GET:
            answer = HttpResponse(text, content_type="application/yaml; charset=utf-8")
            answer["Content-Disposition"] = f'attachment; filename="{self.job.name}.yaml"'
            return answer
        return render(request, "jobs/_yaml.html", {"yaml": text})


class Submit(ProjectPage, TemplateView):
    """Choose a template, fill in its form, submit. `?template=` chooses, `?clone=<uid>` starts from a job."""

    perm = "submit_job"

    def get_template_names(self) -> list[str]:
        return ["jobs/submit.html"] if self.version else ["jobs/gallery.html"]

    @cached_property
    def source(self) -> Job | None:
        uids = read_uids([self.request.GET.get("clone", "")])
        jobs = Job.objects.visible_to(self.request.user).filter(project=self.project, uid__in=uids)
        return jobs.select_related("cluster", "template_version__template").first()

    @cached_property
    def version(self) -> Any:
        if self.source:
            return self.source.template_version
        slug, number = self.request.GET.get("template", ""), self.request.GET.get("version", "")
        return templates.find_version(slug, int(number[:9]) if number.isdecimal() else None) if slug else None

    def forms(self, data: Any = None) -> tuple[JobForm, Any]:
        params = form_for(
            self.version,
            initial=self.source.params if self.source else None,
            workspace_files=file_paths(self.project, default_cluster()),
            secrets=secret_references(self.project),
        )
        if data is not None:
            return JobForm(data), params(data)
        return JobForm(initial=initial_from(self.source) if self.source else {"name": self._free_name()}), params()

    def _free_name(self) -> str:
        """Names may repeat; a number keeps a list readable."""
        jobs = Job.objects.visible_to(self.request.user).filter(project=self.project)
        latest = jobs.order_by("-id").values_list("name", flat=True)
        return first_name(self.version.template.slug, latest[:NAMES_LOOKED_AT])

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        if self.version is None:
            return super().get_context_data(templates=templates.enabled_templates(), **kwargs)
        if "job_form" not in kwargs:
            kwargs["job_form"], kwargs["param_form"] = self.forms()
        return super().get_context_data(
            version=self.version,
            template=self.version.template,
            source=self.source,
            cluster=default_cluster(),
            **kwargs,
        )

    def read(self, request: HttpRequest) -> tuple[dict[str, Any] | None, JobForm, Any]:
        """(what is asked, or None when a form is wrong, and both forms)."""
        job_form, param_form = self.forms(request.POST)
        both = [job_form.is_valid(), param_form.is_valid()]
        if not all(both):
            return None, job_form, param_form
        asked = {"project": self.project, "actor": request.user, "template_version": self.version, **job_form.asked()}
        return {**asked, "params": param_form.params()}, job_form, param_form

    def post(self, request: HttpRequest, **kwargs: Any) -> HttpResponse:
        if self.version is None:
            return HttpResponseRedirect(reverse("jobs:submit", kwargs={"project": self.project.slug}))
        asked, job_form, param_form = self.read(request)
        if asked is not None:
            try:
                job = services.submit_job(**asked)
            except InvalidInput as refusal:
                show(refusal, job_form, param_form)
            else:
                url = reverse("jobs:detail", kwargs={"project": self.project.slug, "uid": job.uid})
                return HttpResponseRedirect(url)
        context = self.get_context_data(job_form=job_form, param_form=param_form, **kwargs)
        return self.render_to_response(context, status=422)


def show(refusal: InvalidInput, job_form: JobForm, param_form: Any) -> None:
    """Each complaint beside its field: parameters' in their own form, the others in the job's."""
    ours = {path: errors for path, errors in refusal.fields.items() if path.partition(".")[0] != "params"}
    theirs = {path: errors for path, errors in refusal.fields.items() if path not in ours}
    job_form.take_errors(InvalidInput(ours))
    param_form.add_refusal(InvalidInput(theirs))


class Preview(Submit):
    """The manifests that this form would send: nothing is saved."""

    def post(self, request: HttpRequest, **kwargs: Any) -> HttpResponse:
        if self.version is None:
            return HttpResponse(status=404)
        asked, job_form, param_form = self.read(request)
        if asked is not None:
            try:
                text = preview.as_yaml(preview.manifests_of(services.draft_job(**asked)))
                return render(request, "jobs/_yaml.html", {"yaml": text})
            except InvalidInput as refusal:
                show(refusal, job_form, param_form)
        return render(request, "jobs/_preview_errors.html", {"forms": [job_form, param_form]})


class Verb(OneJob, View):
    """A POST that does one thing to one job and comes back to its page with what happened."""

    http_method_names = ["post"]

    def act(self, request: HttpRequest) -> str:
        raise AssertionError("every verb says what it does")

    def post(self, request: HttpRequest, **kwargs: Any) -> HttpResponse:
        url = self.job_url()
        try:
            url = self.act(request)
        except DomainError as refusal:
            messages.error(request, str(refusal))
        return HttpResponseRedirect(url)


class Stop(Verb):
    perm = "stop_job"

    def act(self, request: HttpRequest) -> str:
        services.stop_job(job=self.job, actor=request.user)
        return self.job_url()


class Rerun(Verb):
    perm = "submit_job"

    def act(self, request: HttpRequest) -> str:
        return self.job_url(services.rerun_job(job=self.job, actor=request.user))


class Debug(Verb):
    """Starts a debug session of a job, and goes to its terminal."""

    perm = "debug_job"

    def act(self, request: HttpRequest) -> str:
        form = DebugForm(request.POST)
        if not form.is_valid():
            raise InvalidInput({name: [str(text) for text in texts] for name, texts in form.errors.items()})
        session = debugging.debug_job(job=self.job, actor=request.user, seconds=form.seconds())
        return reverse("jobs:terminal", kwargs={"project": self.project.slug, "uid": session.uid})


class TerminalPage(OneJob, TemplateView):
    """The terminal of a debug session; `cube.csp` allows this page what xterm.js needs."""

    perm = "debug_job"

    def get_template_names(self) -> list[str]:
        return ["jobs/_terminal_state.html"] if self.request.htmx else ["jobs/terminal.html"]

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        if not self.job.is_debug:
            raise Http404
        workload = rendering.render(self.job.template_version.body, self.job.params)
        command = shlex.join([*workload.command, *workload.args])
        return super().get_context_data(job=self.job, command=command, most=debugging.MOST_TERMINALS, **kwargs)


class Delete(Verb):
    perm = "delete_job"

    def act(self, request: HttpRequest) -> str:
        name = self.job.name
        services.delete_job(job=self.job, actor=request.user)
        messages.success(request, _("%(name)s was deleted.") % {"name": name})
        return reverse("jobs:list", kwargs={"project": self.project.slug})


class StopMany(ProjectPage, View):
    """Stop the chosen jobs; those that have finished meanwhile are left alone."""

    perm = "stop_job"
    http_method_names = ["post"]

    def post(self, request: HttpRequest, **kwargs: Any) -> HttpResponse:
        uids = read_uids(request.POST.getlist("uid")[:200])
        jobs = Job.objects.visible_to(request.user, self.perm).filter(project=self.project)
        stopped = 0
        for job in jobs.filter(Q(uid__in=uids) & Q(status__in=UNFINISHED - {JobStatus.STOPPING})):
            try:
                services.stop_job(job=job, actor=request.user)
                stopped += 1
            except DomainError as refusal:
                messages.warning(request, str(refusal))
        text = ngettext("%(n)d job was asked to stop.", "%(n)d jobs were asked to stop.", stopped) % {"n": stopped}
        messages.success(request, text)
        return HttpResponseRedirect(reverse("jobs:list", kwargs={"project": self.project.slug}))
