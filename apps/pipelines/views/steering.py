"""What people do to a run and its tasks from its page: each is one service call, and back to the page."""

from django.contrib import messages
from django.http import HttpRequest
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.generic import View

from apps.core.errors import InvalidInput
from apps.jobs import debugging
from apps.jobs.forms import DebugForm
from apps.pipelines import steering
from apps.pipelines.models import WHOLE

from .finding import OneRun, Verb


class RunVerb(OneRun, Verb, View):
    """One thing done to the run of the address."""

    perm = "run_pipeline"

    def back(self) -> str:
        """To the task it was about, where it was about one."""
        return self.run_url() + (f"#task={self.request.POST['key'][:40]}" if self.request.POST.get("key") else "")

    def key(self) -> str:
        return self.request.POST.get("key", "")[:60]

    def index(self) -> int:
        """The item it is about; WHOLE for the task itself. Raises InvalidInput."""
        text = self.request.POST.get("index", "")
        if text in ("", str(WHOLE)):
            return WHOLE
        if not (text.isascii() and text.isdecimal()):
            raise InvalidInput({"index": _("Must be the number of an item.")})
        return int(text[:9])


class Stop(RunVerb):
    def act(self, request: HttpRequest) -> str:
        steering.stop_run(run=self.run, actor=request.user)
        return self.back()


class Rerun(RunVerb):
    """`scope`: `all`, `failed` (what succeeded is taken over), or `only` with a task's `key`."""

    def act(self, request: HttpRequest) -> str:
        scope = request.POST.get("scope")
        only = self.key() if scope == "only" else ""
        run = steering.rerun_run(run=self.run, reuse=scope == "failed", only=only, actor=request.user)
        return self.run_url(run)


class Clear(RunVerb):
    """`scope`: `downstream` (the task and all behind it), `task`, or `items` (those of it that failed)."""

    def act(self, request: HttpRequest) -> str:
        scope = request.POST.get("scope")
        if scope == "items":
            steering.clear_items(run=self.run, key=self.key(), actor=request.user)
        else:
            steering.clear_tasks(run=self.run, keys=[self.key()], downstream=scope != "task", actor=request.user)
        messages.success(request, _("It runs again."))
        return self.back()


class Mark(RunVerb):
    perm = "overrule_task"

    def act(self, request: HttpRequest) -> str:
        status = request.POST.get("status", "")
        steering.mark_task(run=self.run, key=self.key(), index=self.index(), status=status, actor=request.user)
        return self.back()


class Ignore(RunVerb):
    """Let a failure count as success, or with `undo` as a failure again."""

    perm = "overrule_task"

    def act(self, request: HttpRequest) -> str:
        ignored = "undo" not in request.POST
        steering.ignore_failure(run=self.run, key=self.key(), index=self.index(), ignored=ignored, actor=request.user)
        return self.back()


class DebugItem(RunVerb):
    """Starts a debug session of one item of a fan-out, and goes to its terminal."""

    perm = "debug_job"

    def act(self, request: HttpRequest) -> str:
        form = DebugForm(request.POST)
        if not form.is_valid():
            raise InvalidInput({name: [str(text) for text in texts] for name, texts in form.errors.items()})
        task = self.run.tasks.select_related("job").filter(key=self.key(), index=self.index()).first()
        if task is None or task.job is None:
            raise InvalidInput({"index": _("It has no job yet that could be debugged.")})
        session = debugging.debug_job(job=task.job, actor=request.user, seconds=form.seconds())
        return reverse("jobs:terminal", kwargs={"project": self.project.slug, "uid": session.uid})
