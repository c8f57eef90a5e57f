from typing import Any

from django.utils.translation import gettext_lazy as _
from rest_framework import serializers

from apps.logs.filters import Filter
from apps.logs.lines import NoStamp, normal_stamp
from apps.logs.needle import LONGEST, BadNeedle
from apps.logs.reading import Choice

MOST_LINES = 1_000_000
MOST_NAMES = 5000


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


class NamesField(serializers.CharField):
    """Names with commas between them."""

    def to_internal_value(self, data: Any) -> Any:
        names = [name.strip() for name in super().to_internal_value(data).split(",")]
        if len(names) > MOST_NAMES or any(len(name) > 253 for name in names):
            raise serializers.ValidationError(_("These are too many names, or one is too long."))
        return [name for name in names if name]


class RanksField(NamesField):
    def to_internal_value(self, data: Any) -> Any:
        names = super().to_internal_value(data)
        if not all(name.isascii() and name.isdigit() and len(name) < 10 for name in names):
            raise serializers.ValidationError(_("Ranks are whole numbers."))
        return [int(name) for name in names]


class CursorsField(NamesField):
    """`<stream>:<line>` with commas between them."""

    def to_internal_value(self, data: Any) -> Any:
        cursors = {}
        for name in super().to_internal_value(data):
            stream, _colon, line = name.partition(":")
            if not all(part.isascii() and part.isdigit() and len(part) < 19 for part in (stream, line)):
                raise serializers.ValidationError(_("Write a cursor as stream:line, for instance 17:2500."))
            cursors[int(stream)] = int(line)
        return cursors


class LogQuerySerializer(serializers.Serializer):
    """What part of a log is wanted. A parameter it does not know is refused, since a typing error would hide lines."""

    follow = serializers.BooleanField(default=False, help_text=_("Go on until the job has ended."))
    since = StampField(required=False, max_length=40, help_text=_("Only lines stamped at or after this time."))
    until = StampField(required=False, max_length=40, help_text=_("Only lines stamped before this time."))
    pod = NamesField(required=False, help_text=_("Names of pods, or a pod's rank."))
    rank = RanksField(required=False, help_text=_("Ranks of pods."))
    container = NamesField(required=False, help_text=_("Names of containers."))
    attempt = serializers.IntegerField(
        required=False, min_value=1, max_value=32767, help_text=_("An attempt's number.")
    )
    text = serializers.CharField(
        required=False, max_length=LONGEST, trim_whitespace=False, help_text=_("Only lines that hold this text.")
    )
    regex = serializers.BooleanField(default=False, help_text=_("`text` is a regular expression as RE2 knows them."))
    case = serializers.BooleanField(default=False, help_text=_("Capitals matter in `text`."))
    tail = serializers.IntegerField(
        required=False, min_value=0, max_value=MOST_LINES, help_text=_("Only the last lines, over all that is chosen.")
    )
    limit = serializers.IntegerField(required=False, min_value=1, help_text=_("At most so many lines."))
    timestamps = serializers.BooleanField(default=False, help_text=_("Put its time in front of each line (text)."))
    download = serializers.BooleanField(default=False, help_text=_("Answer as a file."))
    format = serializers.ChoiceField(
        choices=["text", "ndjson", "zip"],
        required=False,
        help_text=_("Overrides Accept. A zip holds one file per pod and container."),
    )

    def get_fields(self) -> dict[str, Any]:
        # `from` is a word of the language, so it cannot stand above.
        text = _(
            "Begin here: stream:line of the next line wanted of each stream, as `stream` and `line` of the last object "
            "say (one more). Streams that are not named begin at their first line."
        )
        return super().get_fields() | {"from": CursorsField(required=False, help_text=text)}

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if unknown := sorted(set(self.initial_data) - set(self.fields)):
            raise serializers.ValidationError({name: _("Unknown parameter.") for name in unknown})
        if attrs.get("format") == "zip":
            self._refuse(attrs, "follow", "tail", "limit", "from", why=_("A zip file holds what is stored now."))
        if attrs.get("tail") is not None:
            self._refuse(attrs, "limit", "from", why=_("Ask for the last lines, or for lines from a place on."))
        try:
            _needle = self.filter(attrs).needle
        except BadNeedle as error:
            raise serializers.ValidationError({"text": str(error)}) from None
        return attrs

    def _refuse(self, attrs: dict[str, Any], *names: str, why: Any) -> None:
        if given := [name for name in names if attrs.get(name)]:
            raise serializers.ValidationError(dict.fromkeys(given, why))

    @staticmethod
    def filter(attrs: dict[str, Any]) -> Filter:
        pods = attrs.get("pod", [])
        ranks = [int(name) for name in pods if name.isascii() and name.isdigit()]
        return Filter(
            pods=frozenset(name for name in pods if not (name.isascii() and name.isdigit())),
            ranks=frozenset([*ranks, *attrs.get("rank", [])]),
            containers=frozenset(attrs.get("container", [])),
            attempt=attrs.get("attempt"),
            text=attrs.get("text", ""),
            regex=attrs["regex"],
            case=attrs["case"],
            since=attrs.get("since", b""),
            until=attrs.get("until", b""),
        )

    @property
    def choice(self) -> Choice:
        """What was asked for, once it is valid."""
        asked = self.validated_data
        return Choice(self.filter(asked), asked.get("from", {}), asked.get("tail"), asked.get("limit"))
