"""The wire form of schedules, slots and backfills. Reading and writing are two shapes on purpose."""

from typing import Any

from django.utils.translation import gettext_lazy as _
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from apps.core.api.serializers import StrictSerializer
from apps.pipelines.models import Pipeline
from apps.pipelines.selectors import find_version
from apps.schedules import choices
from apps.schedules.models import Backfill, Schedule, Slot


@extend_schema_field({"type": "object", "additionalProperties": True})
class ObjectField(serializers.JSONField):
    def to_internal_value(self, data: Any) -> Any:
        if not isinstance(data, dict):
            raise serializers.ValidationError(_("Must be an object."))
        return super().to_internal_value(data)


class ScheduleSerializer(serializers.ModelSerializer):
    """A schedule as lists show it."""

    project = serializers.SlugRelatedField(slug_field="slug", read_only=True)
    pipeline = serializers.SlugRelatedField(slug_field="uid", read_only=True)
    pipeline_name = serializers.CharField(source="pipeline.name", read_only=True)
    in_words = serializers.CharField(read_only=True)
    paused_by = serializers.SlugRelatedField(slug_field="username", read_only=True)

    class Meta:
        model = Schedule
        fields = [
            "uid", "name", "project", "pipeline", "pipeline_name", "kind", "cron", "interval_seconds", "zone", "fold",
            "in_words", "priority", "next_logical_at", "next_fire_at", "last_logical_at", "is_paused", "paused_note",
            "paused_at", "paused_by", "failures_in_a_row", "version", "created_at", "updated_at",
        ]  # fmt: skip


class ScheduleDetailSerializer(ScheduleSerializer):
    """A schedule as its page shows it: all of its rules."""

    pipeline_version = serializers.IntegerField(source="pipeline_version.number", read_only=True, default=None)
    after = serializers.SlugRelatedField(slug_field="uid", many=True, read_only=True)
    waits_for = serializers.SlugRelatedField(slug_field="uid", many=True, read_only=True)

    class Meta(ScheduleSerializer.Meta):
        fields = [
            *ScheduleSerializer.Meta.fields, "pipeline_version", "params", "start_at", "end_at", "jitter_seconds",
            "after", "catch_up", "catch_up_limit", "catch_up_window_seconds", "max_active_runs", "overlap",
            "depends_on_past", "past_allows_missed", "past_allows_stopped", "waits_for", "wait_seconds",
            "keep_newest", "run_retries", "run_retry_delay_seconds", "deadline_seconds", "pause_after_failures",
        ]  # fmt: skip


class TimetableSerializer(StrictSerializer):
    """The part of a schedule that says when."""

    kind = serializers.ChoiceField(choices=choices.Kind.choices, required=False)
    cron = serializers.CharField(max_length=200, required=False, allow_blank=True)
    interval_seconds = serializers.IntegerField(required=False, allow_null=True, min_value=10, max_value=366 * 86400)
    zone = serializers.CharField(max_length=64, required=False)
    fold = serializers.ChoiceField(choices=choices.FoldChoice.choices, required=False)
    start_at = serializers.DateTimeField(required=False, allow_null=True)
    end_at = serializers.DateTimeField(required=False, allow_null=True)


class EditSerializer(TimetableSerializer):
    """What a schedule may be asked to be. Ranges, zones and cron lines are checked in the service."""

    name = serializers.CharField(max_length=100, required=False)
    pipeline = serializers.UUIDField(required=False)
    pipeline_version = serializers.IntegerField(required=False, allow_null=True, min_value=1, max_value=2**31 - 1)
    params = ObjectField(required=False)
    priority = serializers.IntegerField(required=False, min_value=-100, max_value=100)
    after = serializers.ListField(child=serializers.UUIDField(), required=False, max_length=20)
    waits_for = serializers.ListField(child=serializers.UUIDField(), required=False, max_length=20)
    jitter_seconds = serializers.IntegerField(required=False, min_value=0, max_value=86400)
    catch_up = serializers.ChoiceField(choices=choices.CatchUp.choices, required=False)
    catch_up_limit = serializers.IntegerField(required=False, min_value=1, max_value=1000)
    catch_up_window_seconds = serializers.IntegerField(required=False, min_value=0, max_value=365 * 86400)
    max_active_runs = serializers.IntegerField(required=False, min_value=1, max_value=1000)
    overlap = serializers.ChoiceField(choices=choices.Overlap.choices, required=False)
    depends_on_past = serializers.ChoiceField(choices=choices.Past.choices, required=False)
    past_allows_missed = serializers.BooleanField(required=False)
    past_allows_stopped = serializers.BooleanField(required=False)
    wait_seconds = serializers.IntegerField(required=False, allow_null=True, min_value=1, max_value=365 * 86400)
    keep_newest = serializers.IntegerField(required=False, allow_null=True, min_value=1, max_value=10_000)
    run_retries = serializers.IntegerField(required=False, min_value=0, max_value=20)
    run_retry_delay_seconds = serializers.IntegerField(required=False, min_value=0, max_value=86400)
    deadline_seconds = serializers.IntegerField(required=False, allow_null=True, min_value=1, max_value=365 * 86400)
    pause_after_failures = serializers.IntegerField(required=False, min_value=0, max_value=1000)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Turn uids into pipelines of the project; what is not there is an error on its own field."""
        known = {pipeline.uid: pipeline for pipeline in self._pipelines(attrs)}
        for name in {"after", "waits_for"} & attrs.keys():
            attrs[name] = [self._one(known, uid, name) for uid in attrs[name]]
        if "pipeline" in attrs:
            attrs["pipeline"] = self._one(known, attrs["pipeline"], "pipeline")
        if attrs.get("pipeline_version"):
            pipeline = attrs.get("pipeline") or self.context["pipeline"]
            attrs["pipeline_version"] = find_version(pipeline, attrs["pipeline_version"])
            if attrs["pipeline_version"] is None:
                raise serializers.ValidationError({"pipeline_version": _("The pipeline has no such version.")})
        return attrs

    def _pipelines(self, attrs: dict[str, Any]) -> Any:
        uids = {*attrs.get("after", []), *attrs.get("waits_for", []), *filter(None, [attrs.get("pipeline")])}
        visible = Pipeline.objects.visible_to(self.context["request"].user)
        return visible.filter(project=self.context["project"], uid__in=uids)

    def _one(self, known: dict[Any, Any], uid: Any, name: str) -> Any:
        if uid not in known:
            raise serializers.ValidationError({name: _("There is no such pipeline in this project.")})
        return known[uid]


class CreateSerializer(EditSerializer):
    name = serializers.CharField(max_length=100)
    pipeline = serializers.UUIDField()


class SlotSerializer(serializers.ModelSerializer):
    schedule = serializers.SlugRelatedField(slug_field="uid", read_only=True)
    run = serializers.SlugRelatedField(slug_field="uid", read_only=True)
    backfill = serializers.SlugRelatedField(slug_field="uid", read_only=True)
    is_late = serializers.BooleanField(read_only=True)

    class Meta:
        model = Slot
        fields = [
            "uid", "schedule", "logical_at", "interval_start", "due_at", "status", "reason", "message", "reason_at",
            "run", "tries", "failures", "is_ignored", "is_late", "backfill", "started_at", "finished_at", "version",
        ]  # fmt: skip


class BackfillSerializer(serializers.ModelSerializer):
    schedule = serializers.SlugRelatedField(slug_field="uid", read_only=True)
    created_by = serializers.SlugRelatedField(slug_field="username", read_only=True)

    class Meta:
        model = Backfill
        fields = [
            "uid", "schedule", "from_at", "to_at", "order", "reprocess", "max_active_runs", "params", "status",
            "slot_count", "left_out", "created_by", "created_at", "finished_at",
        ]  # fmt: skip


class BackfillAskedSerializer(StrictSerializer):
    from_at = serializers.DateTimeField()
    to_at = serializers.DateTimeField()
    order = serializers.ChoiceField(choices=choices.Order.choices, required=False)
    reprocess = serializers.ChoiceField(choices=choices.Reprocess.choices, required=False)
    max_active_runs = serializers.IntegerField(required=False, min_value=1, max_value=1000)
    params = ObjectField(required=False)


class NoteSerializer(StrictSerializer):
    note = serializers.CharField(max_length=300, required=False, allow_blank=True, default="")


class IgnoreSlotSerializer(NoteSerializer):
    ignored = serializers.BooleanField(required=False, default=True)


class MarkSlotSerializer(NoteSerializer):
    status = serializers.ChoiceField(choices=choices.Mark.choices)


class TimeSerializer(NoteSerializer):
    logical_at = serializers.DateTimeField()


class TimesSerializer(serializers.Serializer):
    """The next times, and what the timetable means in words."""

    in_words = serializers.CharField()
    times = serializers.ListField(child=serializers.DateTimeField())


class BackfillPreviewSerializer(serializers.Serializer):
    count = serializers.IntegerField()
    new = serializers.ListField(child=serializers.DateTimeField())
    again = serializers.ListField(child=serializers.DateTimeField())
    left_out = serializers.ListField(child=serializers.ListField(child=serializers.CharField()))
