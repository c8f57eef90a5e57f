"""Base serializers of every room: what the schema does not name is refused, so a typing error is never ignored."""

from collections.abc import Mapping
from typing import Any

from django.utils.translation import gettext_lazy as _
from rest_framework import serializers

UNKNOWN = _("There is no such field.")
READ_ONLY = _("This field is set by Cube and cannot be sent.")
REPORTED = 20  # A hostile body may hold a million names; the answer does not repeat them all.


class Strict:
    """Mixin: refuses unknown and read-only fields, each with an error under its own name."""

    def to_internal_value(self, data: Any) -> Any:
        if isinstance(data, Mapping) and (errors := self._foreign(data)):
            raise serializers.ValidationError(errors)
        return super().to_internal_value(data)  # type: ignore[misc]

    def _foreign(self, data: Mapping[str, Any]) -> dict[str, list[Any]]:
        fields: Mapping[str, serializers.Field] = self.fields  # type: ignore[attr-defined]
        known = {name for name, field in fields.items() if not field.read_only}
        foreign = sorted(str(name) for name in data if name not in known)[:REPORTED]
        return {name[:100]: [READ_ONLY if name in fields else UNKNOWN] for name in foreign}


class StrictSerializer(Strict, serializers.Serializer):
    """A plain serializer that refuses what it does not name. Services write, so it saves nothing."""


class StrictModelSerializer(Strict, serializers.ModelSerializer):
    """The same for a model's columns."""
