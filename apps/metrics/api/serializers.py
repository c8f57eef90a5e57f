"""The wire form of usage."""

from typing import Any

from django.utils.translation import gettext_lazy as _
from rest_framework import serializers

from apps.metrics.choices import SourceState


class UsageQuerySerializer(serializers.Serializer):
    attempt = serializers.IntegerField(required=False, min_value=1, max_value=32767, help_text=_("The newest if none."))

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if unknown := sorted(set(self.initial_data) - set(self.fields)):
            raise serializers.ValidationError({name: _("Unknown parameter.") for name in unknown})
        return attrs


class AskedSerializer(serializers.Serializer):
    request = serializers.IntegerField()
    limit = serializers.IntegerField()


class SpreadSerializer(serializers.Serializer):
    mean = serializers.IntegerField()
    p95 = serializers.IntegerField(help_text=_("By nearest rank."))
    max = serializers.IntegerField()


class FiguresSerializer(serializers.Serializer):
    """Of one pod, over all samples of all pods."""

    first_at = serializers.DateTimeField()
    last_at = serializers.DateTimeField()
    sample_count = serializers.IntegerField()
    pod_count = serializers.IntegerField()
    cpu_millicores = SpreadSerializer()
    memory_bytes = SpreadSerializer()


class PointSerializer(serializers.Serializer):
    at = serializers.DateTimeField()
    cpu_millicores = serializers.IntegerField()
    memory_bytes = serializers.IntegerField()


class SeriesSerializer(serializers.Serializer):
    kind = serializers.ChoiceField(
        choices=["pod", "highest", "mean"], help_text=_("`pod`: one of up to 8; of more pods `highest` and `mean`.")
    )
    pod = serializers.CharField(allow_blank=True)
    rank = serializers.IntegerField(allow_null=True)
    points = PointSerializer(many=True)


class UsageSerializer(serializers.Serializer):
    """Of one attempt. What is asked for is of one pod."""

    measuring = serializers.ChoiceField(
        source="source",
        choices=SourceState.choices,
        allow_null=True,
        help_text=_("Null: not yet asked."),
    )
    attempt = serializers.IntegerField(source="attempt.number")
    cpu_millicores = AskedSerializer()
    memory_bytes = AskedSerializer()
    figures = FiguresSerializer(allow_null=True, help_text=_("Null: nothing was measured."))
    step_seconds = serializers.IntegerField(help_text=_("A point is the highest sample of that time."))
    series = SeriesSerializer(many=True, help_text=_("Empty also when samples were removed by retention."))
    samples_removed_at = serializers.DateTimeField(allow_null=True)
