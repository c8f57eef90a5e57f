"""Search over the stored logs of a project's jobs."""

from datetime import timedelta
from typing import Any

from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from apps.core.errors import InvalidInput
from apps.jobs.choices import JobStatus
from apps.jobs.models import Job
from apps.logs import searching
from apps.logs.excerpts import excerpt
from apps.logs.needle import BadNeedle, Needle
from apps.projects.api.scoping import ProjectViewSet

from .serializers import StampField

DEFAULT_SPAN = timedelta(hours=24)
MOST_HITS = 1000


class SearchQuerySerializer(serializers.Serializer):
    """What is looked for, and where. Without `job` and `since` the last 24 hours are searched."""

    q = serializers.CharField(max_length=1000, trim_whitespace=False, help_text=_("A text, or a regular expression."))
    regex = serializers.BooleanField(default=False, help_text=_("`q` is a regular expression in RE2 syntax."))
    case = serializers.BooleanField(default=False, help_text=_("Capitals matter."))
    since = StampField(required=False, max_length=40, help_text=_("Only lines stamped at or after this time."))
    until = StampField(required=False, max_length=40, help_text=_("Only lines stamped before this time."))
    job = serializers.UUIDField(required=False, help_text=_("Only this job; all of its log unless `since` is given."))
    template = serializers.CharField(required=False, max_length=50, help_text=_("Only jobs of this template (slug)."))
    status = serializers.ChoiceField(required=False, choices=JobStatus.choices, help_text=_("Only jobs that are this."))
    limit = serializers.IntegerField(default=100, min_value=1, max_value=MOST_HITS, help_text=_("Lines in an answer."))
    cursor = serializers.CharField(required=False, max_length=100, help_text=_("`cursor` of the answer before."))

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if unknown := sorted(set(self.initial_data) - set(self.fields)):
            raise serializers.ValidationError({name: _("Unknown parameter.") for name in unknown})
        return attrs


class FoundJobSerializer(serializers.Serializer):
    uid = serializers.UUIDField()
    name = serializers.CharField()
    status = serializers.ChoiceField(choices=JobStatus.choices)


class FoundLineSerializer(serializers.Serializer):
    job = FoundJobSerializer()
    pod = serializers.CharField()
    rank = serializers.IntegerField(allow_null=True)
    container = serializers.CharField()
    attempt = serializers.IntegerField()
    restart = serializers.IntegerField()
    stream = serializers.IntegerField()
    ordinal = serializers.IntegerField()
    stamp = serializers.CharField(help_text=_("RFC 3339 with nanoseconds, UTC."))
    text = serializers.CharField(help_text=_("At most 4 KiB of the line; bytes that are no UTF-8 are U+FFFD."))
    spans = serializers.ListField(
        child=serializers.ListField(child=serializers.IntegerField()),
        help_text=_("[start, end) of each match in `text`, in characters."),
    )
    offset = serializers.IntegerField(help_text=_("Bytes of the line that come before `text`."))
    size = serializers.IntegerField(help_text=_("Bytes of the whole line."))
    url = serializers.CharField(help_text=_("The line in the portal."))


class ScannedSerializer(serializers.Serializer):
    streams = serializers.IntegerField()
    lines = serializers.IntegerField()
    bytes = serializers.IntegerField(help_text=_("As they are stored, which is compressed."))


class FoundSerializer(serializers.Serializer):
    results = FoundLineSerializer(many=True)
    scanned = ScannedSerializer()
    cursor = serializers.CharField(allow_null=True, help_text=_("Where to go on; null when all has been searched."))
    since = serializers.CharField(allow_null=True)
    until = serializers.CharField(allow_null=True)


class LogSearchViewSet(ProjectViewSet):
    """Lines of a project's jobs that hold a text or match a regular expression."""

    queryset = Job.objects.all()
    serializer_class = FoundSerializer
    pagination_class = None
    filter_backends = []
    project_permissions = {"list": "view_project"}

    @extend_schema(
        operation_id="projects_logs_search",
        parameters=[
            SearchQuerySerializer,
            OpenApiParameter("since", OpenApiTypes.DATETIME, description="Only lines stamped at or after this time."),
            OpenApiParameter("until", OpenApiTypes.DATETIME, description="Only lines stamped before this time."),
        ],
        responses=FoundSerializer,
    )
    def list(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Newest jobs first, each pod's lines in order. An answer takes about 2 seconds at most: it may be empty and
        still have a `cursor`, since there was more to look through. Send the same query with it to go on."""
        query = SearchQuerySerializer(data=request.query_params.dict())
        query.is_valid(raise_exception=True)
        asked = query.validated_data
        since, until = asked.get("since", searching.EVER), asked.get("until", searching.NEVER)
        if not since and "job" not in asked:
            since = f"{timezone.now() - DEFAULT_SPAN:%Y-%m-%dT%H:%M:%S}.000000000Z".encode()
        try:
            needle = Needle(asked["q"], regex=asked["regex"], case=asked["case"])
        except BadNeedle as refusal:
            raise InvalidInput({"q": str(refusal)}) from None
        jobs = searching.jobs_among(
            self.get_queryset(), uid=asked.get("job"), template=asked.get("template"), status=asked.get("status")
        )
        place = searching.Place.of(asked["cursor"]) if "cursor" in asked else None
        page = searching.search(searching.Question(needle, jobs, since, until), place=place, limit=asked["limit"])
        answer = {
            "results": [found(hit, needle) for hit in page.hits],
            "scanned": page.scanned,
            "cursor": page.next.cursor if page.next else None,
            "since": since.decode() or None,
            "until": None if until == searching.NEVER else until.decode(),
        }
        return Response(FoundSerializer(answer).data)


def found(hit: searching.Hit, needle: Needle) -> dict[str, Any]:
    stream, line, shown = hit.stream, hit.line, excerpt(hit.line.text, needle)
    return {
        "job": stream.job,
        "pod": stream.pod_name,
        "rank": stream.rank,
        "container": stream.container,
        "attempt": stream.attempt_number,
        "restart": stream.restart,
        "stream": stream.pk,
        "ordinal": line.ordinal,
        "stamp": line.stamp.decode(),
        "text": shown.text,
        "spans": shown.spans,
        "offset": shown.offset,
        "size": shown.size,
        "url": reverse("jobs:detail", args=[stream.job.project.slug, stream.job.uid]) + hit.anchor,
    }
