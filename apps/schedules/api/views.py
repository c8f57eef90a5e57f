from typing import Any

from django.db.models import QuerySet
from django_filters.utils import translate_validation
from drf_spectacular.utils import extend_schema
from rest_framework.decorators import action
from rest_framework.mixins import ListModelMixin
from rest_framework.request import Request
from rest_framework.response import Response

from apps.projects.api.scoping import ProjectObjectViewSet, ProjectViewSet
from apps.schedules import backfills, previewing, services, slots
from apps.schedules.clock import database_now
from apps.schedules.models import Backfill, Schedule, Slot

from .filters import ScheduleFilter, SlotFilter
from .serializers import (
    BackfillAskedSerializer,
    BackfillPreviewSerializer,
    BackfillSerializer,
    CreateSerializer,
    EditSerializer,
    IgnoreSlotSerializer,
    MarkSlotSerializer,
    NoteSerializer,
    ScheduleDetailSerializer,
    ScheduleSerializer,
    SlotSerializer,
    TimeSerializer,
    TimesSerializer,
    TimetableSerializer,
)

ONE = Schedule.objects.select_related("project", "pipeline", "pipeline_version", "paused_by").defer(
    "pipeline_version__graph", "pipeline__description", "paused_by__password"
)


def read(serializer: Any) -> dict[str, Any]:
    serializer.is_valid(raise_exception=True)
    return dict(serializer.validated_data)


class ProjectScheduleViewSet(ListModelMixin, ProjectViewSet):
    """The schedules of a project: list them, make another, try a timetable."""

    queryset = Schedule.objects.for_lists()
    serializer_class = ScheduleSerializer
    filterset_class = ScheduleFilter
    project_permissions = {"list": "view_project", "create": "edit_schedule", "preview": "view_project"}

    @extend_schema(request=CreateSerializer, responses={201: ScheduleDetailSerializer})
    def create(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        context = {"request": request, "project": self.project}
        asked = read(CreateSerializer(data=request.data, context=context))
        schedule = services.create_schedule(project=self.project, actor=request.user, **asked)
        return Response(ScheduleDetailSerializer(schedule).data, status=201)

    @extend_schema(request=TimetableSerializer, responses=TimesSerializer)
    @action(detail=False, methods=["post"])
    def preview(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """A timetable in words, with its next 20 times. Saves nothing."""
        found = previewing.preview(read(TimetableSerializer(data=request.data)), now=database_now())
        return Response(TimesSerializer({"in_words": found.in_words, "times": found.times}).data)


class ScheduleViewSet(ProjectObjectViewSet):
    """One schedule, by its uid: its rules, slots, backfills and verbs."""

    queryset: QuerySet[Schedule] = ONE.prefetch_related("after", "waits_for")
    serializer_class = ScheduleDetailSerializer
    project_permissions = {
        "retrieve": "view_project",
        "partial_update": "edit_schedule",
        "destroy": "delete_schedule",
        "pause": "edit_schedule",
        "resume": "edit_schedule",
        "coming": "view_project",
        "slots": "view_project",
        "run_time": "run_slot",
        "skip_time": "run_slot",
        "backfills": "view_project",
        "backfill": "run_slot",
        "backfill_preview": "view_project",
    }

    def retrieve(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return Response(self.get_serializer(self.get_object()).data)

    @extend_schema(request=EditSerializer, responses=ScheduleDetailSerializer)
    def partial_update(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        schedule = self.get_object()
        context = {"request": request, "project": schedule.project, "pipeline": schedule.pipeline}
        asked = read(EditSerializer(data=request.data, context=context))
        schedule = services.edit_schedule(schedule=schedule, actor=request.user, **asked)
        return Response(ScheduleDetailSerializer(schedule).data)

    def destroy(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        services.delete_schedule(schedule=self.get_object(), actor=request.user)
        return Response(status=204)

    @extend_schema(request=NoteSerializer, responses=ScheduleDetailSerializer)
    @action(detail=True, methods=["post"])
    def pause(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        asked = read(NoteSerializer(data=request.data))
        schedule = services.pause_schedule(schedule=self.get_object(), actor=request.user, **asked)
        return Response(ScheduleDetailSerializer(schedule).data)

    @extend_schema(request=None, responses=ScheduleDetailSerializer)
    @action(detail=True, methods=["post"])
    def resume(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        schedule = services.resume_schedule(schedule=self.get_object(), actor=request.user)
        return Response(ScheduleDetailSerializer(schedule).data)

    @extend_schema(responses=TimesSerializer)
    @action(detail=True, methods=["get"], url_path="next")
    def coming(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """The next 20 times of the schedule."""
        schedule = self.get_object()
        times = previewing.coming(schedule, now=database_now())
        return Response(TimesSerializer({"in_words": schedule.in_words, "times": times}).data)

    @extend_schema(responses=SlotSerializer(many=True), filters=False)
    @action(detail=True, methods=["get"])
    def slots(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        rows = Slot.objects.visible_to(request.user).filter(schedule=self.get_object()).for_lists()
        asked = SlotFilter(request.query_params, queryset=rows, request=request)
        if not asked.is_valid():
            raise translate_validation(asked.errors)
        return self._page(asked.qs, SlotSerializer)

    @extend_schema(request=TimeSerializer, responses={201: SlotSerializer})
    @action(detail=True, methods=["post"], url_path="run")
    def run_time(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Run a coming time now."""
        asked = read(TimeSerializer(data=request.data))
        slot = slots.run_time(schedule=self.get_object(), logical_at=asked["logical_at"], actor=request.user)
        return Response(SlotSerializer(slot).data, status=201)

    @extend_schema(request=TimeSerializer, responses={201: SlotSerializer})
    @action(detail=True, methods=["post"], url_path="skip")
    def skip_time(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Leave a coming time out."""
        asked = read(TimeSerializer(data=request.data))
        slot = slots.skip_time(schedule=self.get_object(), actor=request.user, **asked)
        return Response(SlotSerializer(slot).data, status=201)

    @extend_schema(responses=BackfillSerializer(many=True))
    @action(detail=True, methods=["get"])
    def backfills(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        rows = Backfill.objects.visible_to(request.user).filter(schedule=self.get_object())
        return self._page(rows.select_related("schedule", "created_by"), BackfillSerializer)

    @extend_schema(request=BackfillAskedSerializer, responses={201: BackfillSerializer})
    @backfills.mapping.post
    def backfill(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        asked = read(BackfillAskedSerializer(data=request.data))
        made = backfills.start_backfill(schedule=self.get_object(), actor=request.user, **asked)
        return Response(BackfillSerializer(made).data, status=201)

    @extend_schema(request=BackfillAskedSerializer, responses=BackfillPreviewSerializer)
    @action(detail=True, methods=["post"], url_path="backfills/preview")
    def backfill_preview(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """What a backfill would do with each time. Saves nothing."""
        asked = read(BackfillAskedSerializer(data=request.data))
        kept = {name: asked[name] for name in ("from_at", "to_at", "reprocess") if name in asked}
        found = backfills.preview(schedule=self.get_object(), **kept)
        body = {
            "count": found.count,
            "new": found.new,
            "again": [slot.logical_at for slot in found.again],
            "left_out": [[at.isoformat(), why] for at, why in found.left],
        }
        return Response(BackfillPreviewSerializer(body).data)

    def _page(self, rows: Any, serializer: Any) -> Response:
        return self.get_paginated_response(serializer(self.paginate_queryset(rows), many=True).data)


class SlotViewSet(ProjectObjectViewSet):
    """One logical time of a schedule, and what people do to it."""

    queryset: QuerySet[Slot] = Slot.objects.for_lists()
    serializer_class = SlotSerializer
    project_permissions = {
        "retrieve": "view_project",
        "skip": "run_slot",
        "run_now": "run_slot",
        "stop": "run_slot",
        "mark": "overrule_slot",
        "ignore": "overrule_slot",
    }

    def retrieve(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return Response(self.get_serializer(self.get_object()).data)

    @extend_schema(request=NoteSerializer, responses=SlotSerializer)
    @action(detail=True, methods=["post"])
    def skip(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        asked = read(NoteSerializer(data=request.data))
        return self._answer(slots.skip_slot(slot=self.get_object(), actor=request.user, **asked))

    @extend_schema(request=None, responses=SlotSerializer)
    @action(detail=True, methods=["post"], url_path="run")
    def run_now(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return self._answer(slots.run_slot(slot=self.get_object(), actor=request.user))

    @extend_schema(request=None, responses=SlotSerializer)
    @action(detail=True, methods=["post"])
    def stop(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return self._answer(slots.stop_slot(slot=self.get_object(), actor=request.user))

    @extend_schema(request=MarkSlotSerializer, responses=SlotSerializer)
    @action(detail=True, methods=["post"])
    def mark(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        asked = read(MarkSlotSerializer(data=request.data))
        return self._answer(slots.mark_slot(slot=self.get_object(), actor=request.user, **asked))

    @extend_schema(request=IgnoreSlotSerializer, responses=SlotSerializer)
    @action(detail=True, methods=["post"])
    def ignore(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        asked = read(IgnoreSlotSerializer(data=request.data))
        return self._answer(slots.ignore_slot(slot=self.get_object(), actor=request.user, **asked))

    def _answer(self, slot: Slot) -> Response:
        return Response(SlotSerializer(slot).data)


class BackfillViewSet(ProjectObjectViewSet):
    """One backfill: how far it is, and its verbs."""

    queryset: QuerySet[Backfill] = Backfill.objects.select_related("project", "schedule", "created_by")
    serializer_class = BackfillSerializer
    project_permissions = {
        "retrieve": "view_project",
        "pause": "run_slot",
        "resume": "run_slot",
        "cancel": "run_slot",
    }

    def retrieve(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return Response(self.get_serializer(self.get_object()).data)

    @extend_schema(request=None, responses=BackfillSerializer)
    @action(detail=True, methods=["post"])
    def pause(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return self._answer(backfills.pause_backfill(backfill=self.get_object(), actor=request.user))

    @extend_schema(request=None, responses=BackfillSerializer)
    @action(detail=True, methods=["post"])
    def resume(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return self._answer(backfills.resume_backfill(backfill=self.get_object(), actor=request.user))

    @extend_schema(request=None, responses=BackfillSerializer)
    @action(detail=True, methods=["post"])
    def cancel(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return self._answer(backfills.cancel_backfill(backfill=self.get_object(), actor=request.user))

    def _answer(self, backfill: Backfill) -> Response:
        return Response(BackfillSerializer(backfill).data)
