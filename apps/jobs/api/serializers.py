"""The wire form of jobs. Reading and submitting are two shapes on purpose."""

from functools import cache
from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from apps.clusters.models import Cluster
from apps.clusters.selectors import usable_clusters
from apps.core.api.serializers import StrictSerializer
from apps.jobs import debugging
from apps.jobs.models import Attempt, Job, JobEvent, Pod
from apps.jobtemplates import selectors as templates


class PodSerializer(serializers.ModelSerializer):
    class Meta:
        model = Pod
        fields = [
            "name", "rank", "node", "phase", "reason", "message", "exit_code", "restarts", "started_at", "finished_at",
        ]  # fmt: skip


class AttemptSerializer(serializers.ModelSerializer):
    pods = PodSerializer(many=True, read_only=True)

    class Meta:
        model = Attempt
        fields = [
            "number",
            "status",
            "reason",
            "message",
            "exit_code",
            "object_name",
            "started_at",
            "finished_at",
            "pods",
        ]


class JobEventSerializer(serializers.ModelSerializer):
    actor = serializers.SlugRelatedField(slug_field="username", read_only=True)

    class Meta:
        model = JobEvent
        fields = ["at", "status", "reason", "text", "actor"]


class JobSerializer(serializers.ModelSerializer):
    """A job as lists show it."""

    project = serializers.SlugRelatedField(slug_field="slug", read_only=True)
    cluster = serializers.SlugRelatedField(slug_field="slug", read_only=True)
    template = serializers.CharField(source="template_version.template.slug", read_only=True)
    template_version = serializers.IntegerField(source="template_version.number", read_only=True)
    submitted_by = serializers.SlugRelatedField(slug_field="username", read_only=True)
    submitted_at = serializers.DateTimeField(source="created_at", read_only=True)

    class Meta:
        model = Job
        fields = [
            "uid", "name", "project", "template", "template_version", "status", "reason", "message", "exit_code",
            "version", "priority", "resources", "cluster", "submitted_by", "submitted_at", "started_at", "finished_at",
        ]  # fmt: skip

    @classmethod
    def shown(cls, job: Job) -> dict[str, Any]:
        """One job's wire form, by fields that are made once: making them anew costs twenty times as much."""
        shape: dict[str, Any] = _shape(cls).to_representation(job)
        return shape


@cache
def _shape(kind: type[JobSerializer]) -> JobSerializer:
    return kind()


class JobDetailSerializer(JobSerializer):
    """A job as its page shows it: also its parameters, attempts with pods, and timeline."""

    attempts = AttemptSerializer(many=True, read_only=True)
    events = JobEventSerializer(many=True, read_only=True)
    rerun_of = serializers.SlugRelatedField(slug_field="uid", read_only=True)
    debug_of = serializers.SlugRelatedField(slug_field="uid", read_only=True)

    class Meta(JobSerializer.Meta):
        fields = [
            *JobSerializer.Meta.fields, "params", "max_retries", "time_limit_seconds", "rerun_of",
            "is_debug", "debug_of", "attempts", "events",
        ]  # fmt: skip


@extend_schema_field({"type": "object", "additionalProperties": True})
class ObjectField(serializers.JSONField):
    def to_internal_value(self, data: Any) -> Any:
        if not isinstance(data, dict):
            raise serializers.ValidationError("Must be an object.")
        return super().to_internal_value(data)


class SubmitSerializer(StrictSerializer):
    """What a submission says. Parameters and resources are checked by the template's schema, in the service."""

    name = serializers.CharField(max_length=63)
    template = serializers.SlugField(max_length=50)
    template_version = serializers.IntegerField(required=False, min_value=1, help_text="The latest when absent.")
    params = ObjectField(required=False, default=dict)
    resources = ObjectField(required=False, default=dict)
    priority = serializers.IntegerField(required=False, default=0, min_value=-100, max_value=100)
    cluster = serializers.SlugField(required=False, help_text="The default cluster when absent.")
    resource_group = serializers.SlugField(required=False)
    max_retries = serializers.IntegerField(required=False, default=0, min_value=0, max_value=10)
    time_limit_seconds = serializers.IntegerField(required=False, allow_null=True, default=None, min_value=1)
    uid = serializers.UUIDField(required=False, help_text="Makes the call idempotent: the same uid is one job.")

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Turn names into rows; what does not exist is an error on its own field."""
        version = templates.find_version(attrs.pop("template"), attrs.pop("template_version", None))
        if version is None:
            raise serializers.ValidationError({"template": "No such template, or no such version of it."})
        attrs["template_version"] = version
        if slug := attrs.pop("cluster", None):
            attrs["cluster"] = self._cluster(slug)
        if slug := attrs.pop("resource_group", None):
            attrs["resource_group"] = self._resource_group(slug, attrs.get("cluster"))
        return attrs

    def _cluster(self, slug: str) -> Cluster:
        cluster = usable_clusters().filter(slug=slug).first()
        if cluster is None:
            raise serializers.ValidationError({"cluster": "No such cluster, or it takes no new work."})
        return cluster

    def _resource_group(self, slug: str, cluster: Cluster | None) -> Any:
        cluster = cluster or usable_clusters().filter(is_default=True).first()
        group = cluster.resource_groups.filter(slug=slug).first() if cluster else None
        if group is None:
            raise serializers.ValidationError({"resource_group": "No such resource group on that cluster."})
        return group


class DebugSerializer(StrictSerializer):
    seconds = serializers.IntegerField(
        required=False,
        default=debugging.USUAL_SECONDS,
        min_value=debugging.SHORTEST_SECONDS,
        max_value=debugging.LONGEST_SECONDS,
        help_text="How long the session lasts, from its container's start.",
    )


class ManifestsSerializer(serializers.Serializer):
    manifests = serializers.ListField(child=serializers.DictField())
    yaml = serializers.CharField()
