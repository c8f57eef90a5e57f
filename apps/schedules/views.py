"""Pages of schedules. Each asks its door (`ProjectPage.perm`), reads rows, and makes one service call per verb."""

from datetime import timedelta
from typing import Any
from zoneinfo import ZoneInfo

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db.models import Count, Q, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.utils.functional import cached_property
from django.utils.translation import gettext as _
from django.views.generic import TemplateView, View

from apps.core.errors import DomainError, InvalidInput
from apps.core.forms import take_errors
from apps.pipelines.models import Pipeline
from apps.projects.pages import ProjectPage
from apps.projects.refusal import sentence

from . import asked, backfills, calendars, previewing, services, slots
from .choices import UNFINISHED, Kind, SlotStatus
from .clock import database_now
from .forms import BackfillForm, ScheduleForm, WallTimeField
from .models import Backfill, Schedule, Slot

PAGE = 50
COMING = 20


class ScheduleList(ProjectPage, TemplateView):
    """All schedules of the project by name, with what comes next and how the last times went."""

    perm = "view_project"
    template_name = "schedules/list.html"

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        mine = Schedule.objects.visible_to(self.request.user).filter(project=self.project)
        search = self.request.GET.get("search", "").strip()[:100]
        rows = mine.filter(name__icontains=search) if search else mine
        after = self.request.GET.get("after", "")
        page = list(rows.filter(name__gt=after).for_lists()[: PAGE + 1])
        shown = page[:PAGE]
        states = self._states(shown)
        return super().get_context_data(
            rows=[(schedule, states.get(schedule.pk, {})) for schedule in shown],
            search=search,
            next_after=shown[-1].name if len(page) > PAGE else "",
            is_first_page=not after,
            **kwargs,
        )

    def _states(self, schedules: list[Schedule]) -> dict[int, dict[str, int]]:
        """How many slots wait and run, of each: one query into the index of unfinished ones."""
        found = Slot.objects.visible_to(self.request.user).filter(schedule__in=schedules, status__in=UNFINISHED)
        states: dict[int, dict[str, int]] = {}
        for pk, status, number in found.order_by().values_list("schedule", "status").annotate(n=Count("pk")):
            states.setdefault(pk, {})[status] = number
        return states


class OneSchedule(ProjectPage):
    """Finds the schedule of the address within the project, or 404."""

    @cached_property
    def schedule(self) -> Schedule:
        rows = Schedule.objects.visible_to(self.request.user).filter(project=self.project)
        related = ("project", "pipeline", "pipeline_version", "paused_by", "created_by")
        rows = rows.select_related(*related).defer("pipeline_version__graph", "pipeline__description")
        return get_object_or_404(rows.prefetch_related("after", "waits_for"), uid=self.kwargs["uid"])

    def url(self, name: str = "detail", **more: Any) -> str:
        return reverse(f"schedules:{name}", kwargs={"project": self.project.slug, "uid": self.schedule.uid, **more})


class ScheduleDetail(OneSchedule, TemplateView):
    """Slots past, next and missed; a month; what comes; backfills; the rules."""

    perm = "view_project"

    def get_template_names(self) -> list[str]:
        return ["schedules/_live.html"] if self.request.htmx else ["schedules/detail.html"]

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        now = database_now()
        mine = Slot.objects.visible_to(self.request.user).filter(schedule=self.schedule)
        zone = ZoneInfo(self.schedule.zone)
        slot_rows = list(self._filtered(mine, zone).for_lists()[: PAGE + 1])
        for slot in slot_rows:
            slot.schedule = self.schedule  # whose deadline says whether it is late
        taken = set(mine.filter(logical_at__gt=now).values_list("logical_at", flat=True))
        coming = [at for at in previewing.coming(self.schedule, now=now, count=COMING) if at not in taken]
        found = Backfill.objects.visible_to(self.request.user).filter(schedule=self.schedule)
        return super().get_context_data(
            schedule=self.schedule,
            zone=zone,
            slots=slot_rows[:PAGE],
            older=slot_rows[PAGE - 1].logical_at.isoformat() if len(slot_rows) > PAGE else "",
            chosen=self.request.GET.getlist("status"),
            on=self.request.GET.get("on", ""),
            statuses=SlotStatus.choices,
            coming=coming,
            month=calendars.month_of(self.schedule, mine, text=self.request.GET.get("month", ""), now=now),
            backfills=found.select_related("created_by")[:20],
            **kwargs,
        )

    def _filtered(self, mine: QuerySet[Slot], zone: ZoneInfo) -> Any:
        """`?status=`, `?on=2026-11-25` (a day of the schedule's zone), `?before=` (paging by time)."""
        given = self.request.GET
        if chosen := set(given.getlist("status")) & set(SlotStatus.values):
            mine = mine.filter(status__in=chosen)
        if (begin := asked.midnight(given.get("on", ""), zone)) is not None:
            mine = mine.filter(logical_at__gte=begin, logical_at__lt=begin + timedelta(days=1))
        if (before := asked.moment(given.get("before", ""))) is not None:
            mine = mine.filter(logical_at__lt=before)
        return mine.order_by("-logical_at")


# -- making and changing ----------------------------------------------------------------------------------------------
class NewSchedule(ProjectPage, TemplateView):
    perm = "edit_schedule"
    template_name = "schedules/form.html"
    schedule: Schedule | None = None

    def pipelines(self) -> QuerySet[Pipeline]:
        mine = Pipeline.objects.visible_to(self.request.user).filter(project=self.project)
        kept = Q(is_archived=False)
        if self.schedule is not None:
            kept |= Q(pk=self.schedule.pipeline_id)
        return mine.filter(kept).order_by("name")

    def form(self, data: Any = None) -> ScheduleForm:
        """`?pipeline=<uid>` begins with that pipeline chosen, and with its name."""
        form = ScheduleForm(data, pipelines=self.pipelines(), instance=self.schedule)
        uid = asked.uid(self.request.GET.get("pipeline", ""))
        if uid is not None and self.schedule is None and (chosen := self.pipelines().filter(uid=uid).first()):
            form.initial |= {"pipeline": chosen.pk, "name": chosen.name}
        return form

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        form = kwargs.pop("form", None) or self.form()
        return super().get_context_data(form=form, schedule=self.schedule, **kwargs)

    def save(self, asked: dict[str, Any]) -> Schedule:
        return services.create_schedule(project=self.project, actor=self.request.user, **asked)

    def post(self, request: HttpRequest, **kwargs: Any) -> HttpResponse:
        form = self.form(request.POST)
        if form.is_valid():
            try:
                schedule = self.save(form.asked())
            except InvalidInput as refusal:
                take_errors(form, refusal)
            else:
                found = {"project": self.project.slug, "uid": schedule.uid}
                return HttpResponseRedirect(reverse("schedules:detail", kwargs=found))
        return self.render_to_response(self.get_context_data(form=form, **kwargs), status=422)


class EditSchedule(OneSchedule, NewSchedule):  # type: ignore[misc]
    perm = "edit_schedule"

    def save(self, asked: dict[str, Any]) -> Schedule:
        return services.edit_schedule(schedule=self.schedule, actor=self.request.user, **asked)


class TimetablePreview(ProjectPage, View):
    """What the timetable being typed means: a fragment. Nothing is saved."""

    perm = "view_project"

    def get(self, request: HttpRequest, **kwargs: Any) -> HttpResponse:
        if request.GET.get("kind") == Kind.CRON and not request.GET.get("cron", "").strip():
            return render(request, "schedules/_preview.html", {"is_empty": True})
        try:
            found = previewing.preview(asked.timetable(request.GET, WallTimeField(required=False)), now=database_now())
            context: dict[str, Any] = {"preview": found}
        except InvalidInput as refusal:
            context = {"errors": [text for texts in refusal.fields.values() for text in texts]}
        return render(request, "schedules/_preview.html", context)


# -- verbs ------------------------------------------------------------------------------------------------------------
class Verb(OneSchedule, View):
    """A POST that does one thing and comes back to the schedule's page with what happened."""

    http_method_names = ["post"]

    def act(self, request: HttpRequest) -> str:
        raise AssertionError("every verb says what it does")

    def home(self) -> str:
        return self.url()

    def post(self, request: HttpRequest, **kwargs: Any) -> HttpResponse:
        url = self.home()
        try:
            url = self.act(request) or url
        except DomainError as refusal:
            messages.error(request, str(refusal))
        return HttpResponseRedirect(url)


class Pause(Verb):
    perm = "edit_schedule"

    def act(self, request: HttpRequest) -> str:
        note = request.POST.get("note", "")[:300]
        services.pause_schedule(schedule=self.schedule, note=note, actor=request.user)
        return ""


class Resume(Verb):
    perm = "edit_schedule"

    def act(self, request: HttpRequest) -> str:
        services.resume_schedule(schedule=self.schedule, actor=request.user)
        return ""


class Delete(Verb):
    perm = "delete_schedule"

    def act(self, request: HttpRequest) -> str:
        name = self.schedule.name
        services.delete_schedule(schedule=self.schedule, actor=request.user)
        messages.success(request, _("%(name)s was deleted. Its runs stay.") % {"name": name})
        return reverse("schedules:list", kwargs={"project": self.project.slug})


class ComingTime(Verb):
    """Run a coming time now, or leave it out."""

    perm = "run_slot"

    def act(self, request: HttpRequest) -> str:
        at = asked.moment(request.POST.get("logical_at", ""))
        if at is None:
            raise InvalidInput({"logical_at": _("This is no coming time of the schedule. Take one of its next times.")})
        if request.POST.get("verb") == "skip":
            slots.skip_time(schedule=self.schedule, logical_at=at, actor=request.user)
        else:
            slots.run_time(schedule=self.schedule, logical_at=at, actor=request.user)
        return ""


class SlotVerb(ProjectPage, View):
    """One of the verbs of a slot, named by the button; each needs a permission of its own."""

    perm = "run_slot"
    http_method_names = ["post"]
    OVERRULING = frozenset({"ignore", "heed", "succeeded", "failed", "skipped"})

    @cached_property
    def slot(self) -> Slot:
        mine = Slot.objects.visible_to(self.request.user).filter(project=self.project)
        return get_object_or_404(mine.select_related("schedule", "project", "run"), uid=self.kwargs["uid"])

    def post(self, request: HttpRequest, **kwargs: Any) -> HttpResponse:
        slot, verb = self.slot, request.POST.get("verb", "")
        if verb in self.OVERRULING and "overrule_slot" not in self.permissions:
            raise PermissionDenied(sentence("overrule_slot", self.project))
        try:
            self._act(slot, verb)
        except DomainError as refusal:
            messages.error(request, str(refusal))
        found = {"project": self.project.slug, "uid": slot.schedule.uid}
        return HttpResponseRedirect(reverse("schedules:detail", kwargs=found))

    def _act(self, slot: Slot, verb: str) -> None:
        note, actor = self.request.POST.get("note", "")[:300], self.request.user
        match verb:
            case "run":
                slots.run_slot(slot=slot, actor=actor)
            case "skip":
                slots.skip_slot(slot=slot, note=note, actor=actor)
            case "stop":
                slots.stop_slot(slot=slot, actor=actor)
            case "ignore" | "heed":
                slots.ignore_slot(slot=slot, ignored=verb == "ignore", note=note, actor=actor)
            case _:
                slots.mark_slot(slot=slot, status=verb, note=note, actor=actor)


# -- backfills --------------------------------------------------------------------------------------------------------
class NewBackfill(OneSchedule, TemplateView):
    perm = "run_slot"
    template_name = "schedules/backfill_form.html"

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        form = kwargs.pop("form", None) or BackfillForm(zone=self.schedule.zone)
        return super().get_context_data(form=form, schedule=self.schedule, **kwargs)

    def post(self, request: HttpRequest, **kwargs: Any) -> HttpResponse:
        form = BackfillForm(request.POST, zone=self.schedule.zone)
        if form.is_valid():
            try:
                made = backfills.start_backfill(schedule=self.schedule, actor=request.user, **form.asked())
            except InvalidInput as refusal:
                take_errors(form, refusal)
            else:
                found = {"project": self.project.slug, "uid": made.uid}
                return HttpResponseRedirect(reverse("schedules:backfill_detail", kwargs=found))
        return self.render_to_response(self.get_context_data(form=form, **kwargs), status=422)


class BackfillPreview(OneSchedule, View):
    """What the backfill being written would do with each time. Nothing is saved."""

    perm = "run_slot"

    def get(self, request: HttpRequest, **kwargs: Any) -> HttpResponse:
        form = BackfillForm(request.GET, zone=self.schedule.zone)
        context: dict[str, Any] = {"schedule": self.schedule, "zone": ZoneInfo(self.schedule.zone)}
        if form.is_valid():
            asked = {name: form.asked()[name] for name in ("from_at", "to_at", "reprocess")}
            try:
                context["preview"] = backfills.preview(schedule=self.schedule, **asked)
            except InvalidInput as refusal:
                context["errors"] = [text for texts in refusal.fields.values() for text in texts]
        return render(request, "schedules/_backfill_preview.html", context)


class OneBackfill(ProjectPage):
    @cached_property
    def backfill(self) -> Backfill:
        mine = Backfill.objects.visible_to(self.request.user).filter(project=self.project)
        return get_object_or_404(mine.select_related("schedule", "project", "created_by"), uid=self.kwargs["uid"])


class BackfillDetail(OneBackfill, TemplateView):
    perm = "view_project"
    template_name = "schedules/backfill.html"

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        mine = Slot.objects.visible_to(self.request.user).filter(backfill=self.backfill)
        counts = dict(mine.order_by().values_list("status").annotate(n=Count("pk")))
        done = sum(number for status, number in counts.items() if status not in UNFINISHED)
        total = sum(counts.values())
        left = [(asked.moment(at), why) for at, why in self.backfill.left_out[:200]]
        return super().get_context_data(
            backfill=self.backfill,
            schedule=self.backfill.schedule,
            zone=ZoneInfo(self.backfill.schedule.zone),
            counts=[(SlotStatus(s).label, counts[s]) for s in SlotStatus.values if s in counts],
            done=done,
            total=total,
            percent=round(100 * done / total) if total else 100,
            slots=mine.for_lists().order_by("logical_at")[:200],
            left=left,
            **kwargs,
        )


class BackfillVerb(OneBackfill, View):
    perm = "run_slot"
    http_method_names = ["post"]
    VERBS = {
        "pause": backfills.pause_backfill,
        "resume": backfills.resume_backfill,
        "cancel": backfills.cancel_backfill,
    }

    def post(self, request: HttpRequest, **kwargs: Any) -> HttpResponse:
        verb = self.VERBS.get(request.POST.get("verb", ""))
        try:
            if verb is not None:
                verb(backfill=self.backfill, actor=request.user)
        except DomainError as refusal:
            messages.error(request, str(refusal))
        found = {"project": self.project.slug, "uid": self.backfill.uid}
        return HttpResponseRedirect(reverse("schedules:backfill_detail", kwargs=found))
