"""The wire form of incidents, rules and channels. Secrets go in and never come out."""

from typing import Any

from django.utils.translation import gettext_lazy as _
from rest_framework import serializers

from apps.alerts.choices import ChannelKind
from apps.alerts.models import NOTE_LENGTH, Channel, Delivery, Incident, Rule
from apps.core.api.serializers import StrictSerializer
from apps.pipelines.models import Pipeline
from apps.schedules.models import Schedule


class ChannelSerializer(serializers.ModelSerializer):
    project = serializers.SlugRelatedField(slug_field="slug", read_only=True)
    addresses = serializers.ListField(child=serializers.CharField())

    class Meta:
        model = Channel
        fields = [
            "uid", "name", "project", "kind", "addresses", "host", "is_signed", "is_enabled", "last_sent_at", "problem",
            "created_at", "updated_at",
        ]  # fmt: skip


class EditChannelSerializer(StrictSerializer):
    name = serializers.CharField(max_length=100, required=False)
    addresses = serializers.ListField(child=serializers.CharField(max_length=320), required=False, max_length=20)
    url = serializers.CharField(max_length=2000, required=False, write_only=True)
    signing_secret = serializers.CharField(
        max_length=500, required=False, allow_blank=True, trim_whitespace=False, write_only=True
    )
    is_enabled = serializers.BooleanField(required=False)


class CreateChannelSerializer(EditChannelSerializer):
    name = serializers.CharField(max_length=100)
    kind = serializers.ChoiceField(choices=ChannelKind.choices)


class RuleSerializer(serializers.ModelSerializer):
    project = serializers.SlugRelatedField(slug_field="slug", read_only=True)
    pipeline = serializers.SlugRelatedField(slug_field="uid", read_only=True)
    schedule = serializers.SlugRelatedField(slug_field="uid", read_only=True)
    channels = serializers.SlugRelatedField(slug_field="uid", many=True, read_only=True)
    snoozed_by = serializers.SlugRelatedField(slug_field="username", read_only=True)

    class Meta:
        model = Rule
        fields = [
            "uid", "name", "project", "pipeline", "schedule", "on_failure", "on_lateness", "on_pause", "tells_recovery",
            "channels", "is_enabled", "snoozed_until", "snoozed_by", "snooze_note", "created_at", "updated_at",
        ]  # fmt: skip


class EditRuleSerializer(StrictSerializer):
    name = serializers.CharField(max_length=100, required=False)
    pipeline = serializers.UUIDField(required=False, allow_null=True)
    schedule = serializers.UUIDField(required=False, allow_null=True)
    on_failure = serializers.BooleanField(required=False)
    on_lateness = serializers.BooleanField(required=False)
    on_pause = serializers.BooleanField(required=False)
    tells_recovery = serializers.BooleanField(required=False)
    is_enabled = serializers.BooleanField(required=False)
    channels = serializers.ListField(child=serializers.UUIDField(), required=False, max_length=10)

    def validate_pipeline(self, uid: Any) -> Pipeline | None:
        return self._one(Pipeline, uid)

    def validate_schedule(self, uid: Any) -> Schedule | None:
        return self._one(Schedule, uid)

    def validate_channels(self, uids: list[Any]) -> list[Channel]:
        found = list(self._mine(Channel).without_secrets().filter(uid__in=uids))
        if len(found) < len(set(uids)):
            raise serializers.ValidationError(_("There is no such channel in this project."))
        return found

    def _one(self, model: Any, uid: Any) -> Any:
        if uid is None:
            return None
        if (found := self._mine(model).filter(uid=uid).first()) is None:
            raise serializers.ValidationError(_("There is no such thing in this project."))
        return found

    def _mine(self, model: Any) -> Any:
        return model.objects.visible_to(self.context["request"].user).filter(project=self.context["project"])


class CreateRuleSerializer(EditRuleSerializer):
    name = serializers.CharField(max_length=100)


class IncidentSerializer(serializers.ModelSerializer):
    project = serializers.SlugRelatedField(slug_field="slug", read_only=True)
    rule = serializers.SlugRelatedField(slug_field="uid", read_only=True)
    pipeline = serializers.SlugRelatedField(slug_field="uid", read_only=True)
    schedule = serializers.SlugRelatedField(slug_field="uid", read_only=True)
    run = serializers.SlugRelatedField(slug_field="uid", read_only=True)
    about = serializers.CharField(read_only=True)
    snoozed_by = serializers.SlugRelatedField(slug_field="username", read_only=True)
    closed_by = serializers.SlugRelatedField(slug_field="username", read_only=True)

    class Meta:
        model = Incident
        fields = [
            "uid", "project", "rule", "condition", "about", "pipeline", "schedule", "run", "message", "count",
            "opened_at", "last_at", "closed_at", "closed_by", "close_note", "told_at", "snoozed_until", "snoozed_by",
            "snooze_note",
        ]  # fmt: skip


class DeliverySerializer(serializers.ModelSerializer):
    channel = serializers.SlugRelatedField(slug_field="uid", read_only=True)

    class Meta:
        model = Delivery
        fields = ["uid", "channel", "change", "status", "attempts", "next_at", "problem", "created_at", "sent_at"]


class SnoozeSerializer(StrictSerializer):
    until = serializers.DateTimeField()
    note = serializers.CharField(max_length=NOTE_LENGTH, required=False, allow_blank=True, default="")


class CloseSerializer(StrictSerializer):
    note = serializers.CharField(max_length=NOTE_LENGTH, required=False, allow_blank=True, default="")
