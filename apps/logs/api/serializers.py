from typing import Any

from django.utils.translation import gettext_lazy as _
from rest_framework import serializers

from apps.logs.lines import NoStamp, normal_stamp

MOST_LINES = 1_000_000


class StampField(serializers.CharField):
    """RFC 3339 with up to nanoseconds, as the stamp our files carry."""

    def to_internal_value(self, data: Any) -> Any:
        try:
            # In a query string an unescaped "+" is a space.
            return normal_stamp(super().to_internal_value(data).replace(" ", "+").encode())
        except NoStamp:
            raise serializers.ValidationError(
                _("Write a time as in 2026-11-24T08:00:00Z or 2026-11-24T08:00:00.123456789+08:00.")
            ) from None


class LogQuerySerializer(serializers.Serializer):
    """What part of a log is wanted. A parameter it does not know is refused, since a typing error would hide lines."""

    follow = serializers.BooleanField(default=False, help_text=_("Go on until the job has ended."))
    since = StampField(required=False, max_length=40, help_text=_("Only lines stamped at or after this time."))
    pod = serializers.CharField(required=False, max_length=253, help_text=_("The name of a pod, or its rank."))
    container = serializers.CharField(required=False, max_length=63, help_text=_("The name of a container."))
    tail = serializers.IntegerField(
        required=False, min_value=0, max_value=MOST_LINES, help_text=_("Only the last lines, over all that is chosen.")
    )
    timestamps = serializers.BooleanField(default=False, help_text=_("Put its time in front of each line (text)."))
    download = serializers.BooleanField(default=False, help_text=_("Answer as a file."))
    format = serializers.ChoiceField(choices=["text", "ndjson"], required=False, help_text=_("Overrides Accept."))

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if unknown := sorted(set(self.initial_data) - set(self.fields)):
            raise serializers.ValidationError({name: _("Unknown parameter.") for name in unknown})
        return attrs
