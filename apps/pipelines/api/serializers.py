"""The wire form of pipelines and runs. Reading and asking are different shapes on purpose."""

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from apps.core.api.serializers import StrictSerializer
from apps.pipelines import selectors
from apps.pipelines.choices import TaskStatus
from apps.pipelines.graph.documents import arranged
from apps.pipelines.models import WHOLE, Pipeline, Run, RunEvent, TaskRun, TaskTry, Version


@extend_schema_field({"type": "object", "additionalProperties": True})
class GraphField(serializers.JSONField):
    """A graph's document, judged by the service, which names every bad field."""


class PersonField(serializers.SlugRelatedField):
    def __init__(self, **kwargs: Any) -> None:
        super().__init__(slug_field="username", read_only=True, **kwargs)


class PipelineSerializer(serializers.ModelSerializer):
    project = serializers.SlugRelatedField(slug_field="slug", read_only=True)
    created_by = PersonField()
    newest_version = serializers.IntegerField(source="newest", read_only=True, allow_null=True)

    class Meta:
        model = Pipeline
        fields = [
            "uid", "project", "name", "description", "is_archived", "newest_version", "created_by", "created_at",
            "updated_at",
        ]  # fmt: skip


class PipelineVersionSerializer(serializers.ModelSerializer):
    """One version as lists show it."""

    author = PersonField()

    class Meta:
        model = Version
        fields = ["number", "digest", "task_count", "comment", "author", "created_at"]


class PipelineVersionDetailSerializer(PipelineVersionSerializer):
    graph = serializers.SerializerMethodField()

    class Meta(PipelineVersionSerializer.Meta):
        fields = [*PipelineVersionSerializer.Meta.fields, "graph"]

    @extend_schema_field({"type": "object", "additionalProperties": True})
    def get_graph(self, version: Version) -> dict[str, Any]:
        return arranged(version.graph)


class NewPipelineSerializer(StrictSerializer):
    name = serializers.CharField(max_length=100)
    description = serializers.CharField(required=False, allow_blank=True, default="", max_length=5000)
    graph = GraphField(required=False, default=None, help_text="The first version; it may be saved later.")
    comment = serializers.CharField(required=False, allow_blank=True, default="", max_length=300)


class DescribeSerializer(StrictSerializer):
    name = serializers.CharField(required=False, max_length=100)
    description = serializers.CharField(required=False, allow_blank=True, max_length=5000)
    is_archived = serializers.BooleanField(required=False)


class NewVersionSerializer(StrictSerializer):
    graph = GraphField()
    comment = serializers.CharField(required=False, allow_blank=True, default="", max_length=300)
    based_on = serializers.IntegerField(
        required=False, allow_null=True, default=None, min_value=0, help_text="The version that was edited."
    )


class ImportSerializer(StrictSerializer):
    document = serializers.CharField(trim_whitespace=False, help_text="A graph as YAML or JSON text.")
    name = serializers.CharField(max_length=100, help_text="Of the pipeline; one of that name gets another version.")
    comment = serializers.CharField(required=False, allow_blank=True, default="", max_length=300)


class CheckSerializer(StrictSerializer):
    graph = GraphField(required=False, default=None)
    document = serializers.CharField(required=False, default="", trim_whitespace=False, help_text="YAML or JSON text.")


class CheckedSerializer(serializers.Serializer):
    problems = serializers.DictField(child=serializers.ListField(child=serializers.CharField()))
    graph = GraphField(help_text="The canonical form, null when there are problems.")
    yaml = serializers.CharField()


class CopySerializer(StrictSerializer):
    project = serializers.SlugField(help_text="Where to: a project in which you may edit pipelines.")
    name = serializers.CharField(required=False, default="", max_length=100)
    version = serializers.IntegerField(required=False, allow_null=True, default=None, min_value=1)


class ChangeSerializer(serializers.Serializer):
    path = serializers.CharField()
    before = serializers.JSONField(allow_null=True)
    after = serializers.JSONField(allow_null=True)


class DiffSerializer(serializers.Serializer):
    added = serializers.ListField(child=serializers.CharField())
    removed = serializers.ListField(child=serializers.CharField())
    changed = serializers.ListField(child=serializers.CharField())
    changes = ChangeSerializer(many=True)


# -- runs -------------------------------------------------------------------------------------------------------------
class RunSerializer(serializers.ModelSerializer):
    """A run as lists show it."""

    project = serializers.SlugRelatedField(slug_field="slug", read_only=True)
    pipeline = serializers.SlugRelatedField(slug_field="uid", read_only=True)
    pipeline_name = serializers.CharField(source="pipeline.name", read_only=True)
    pipeline_version = serializers.IntegerField(source="pipeline_version.number", read_only=True)
    started_by = PersonField()
    rerun_of = serializers.SlugRelatedField(slug_field="uid", read_only=True)

    class Meta:
        model = Run
        fields = [
            "uid", "project", "pipeline", "pipeline_name", "pipeline_version", "status", "reason", "message", "version",
            "trigger", "logical_at", "interval_start", "interval_end", "priority", "parallelism", "attempt",
            "unfinished_tasks", "active_tasks", "failed_tasks", "ignored_tasks", "task_rows", "started_by", "rerun_of",
            "created_at", "started_at", "finished_at", "deadline_at",
        ]  # fmt: skip


class RunEventSerializer(serializers.ModelSerializer):
    actor = PersonField()

    class Meta:
        model = RunEvent
        fields = ["at", "key", "status", "reason", "text", "actor"]


class RunDetailSerializer(RunSerializer):
    """A run as its page shows it: also its parameters and timeline. Its tasks have a list of their own."""

    events = serializers.SerializerMethodField(help_text="The latest 500, oldest first.")

    class Meta(RunSerializer.Meta):
        fields = [*RunSerializer.Meta.fields, "params", "only", "events"]

    @extend_schema_field(RunEventSerializer(many=True))
    def get_events(self, run: Run) -> Any:
        return RunEventSerializer(selectors.timeline_of(run), many=True).data


class TrySerializer(serializers.ModelSerializer):
    job: Any = serializers.SlugRelatedField(slug_field="uid", read_only=True)

    class Meta:
        model = TaskTry
        fields = ["number", "job", "at"]


class TaskRunSerializer(serializers.ModelSerializer):
    """A task of a run, or an item of one (`index` from 0; -1 is the task itself). Times are of its newest try."""

    job: Any = serializers.SlugRelatedField(slug_field="uid", read_only=True)
    job_status = serializers.CharField(source="job.status", read_only=True, default=None, allow_null=True)
    history = TrySerializer(many=True, read_only=True)
    status = serializers.ChoiceField(choices=TaskStatus.choices, read_only=True)

    class Meta:
        model = TaskRun
        fields = [
            "key", "index", "item", "status", "is_ignored", "reason", "message", "params", "outputs", "priority",
            "job", "job_status", "tries", "failures", "free_failures", "item_count", "items_left", "items_failed",
            "ready_at", "due_at", "started_at", "finished_at", "history",
        ]  # fmt: skip


class StartSerializer(StrictSerializer):
    pipeline = serializers.UUIDField()
    pipeline_version = serializers.IntegerField(required=False, min_value=1, help_text="The newest when absent.")
    params = GraphField(required=False, default=dict)
    priority = serializers.IntegerField(required=False, default=0, min_value=-100, max_value=100)
    logical_at = serializers.DateTimeField(required=False, allow_null=True, default=None)
    interval_start = serializers.DateTimeField(required=False, allow_null=True, default=None)
    interval_end = serializers.DateTimeField(required=False, allow_null=True, default=None)
    uid = serializers.UUIDField(required=False, help_text="Makes the call idempotent: the same uid is one run.")

    def validate_params(self, value: Any) -> Any:
        if not isinstance(value, dict):
            raise serializers.ValidationError("Must be an object.")
        return value


class RerunSerializer(StrictSerializer):
    reuse = serializers.BooleanField(required=False, default=False, help_text="Take over what succeeded.")
    task = serializers.CharField(required=False, default="", max_length=40, help_text="Run this task alone.")


class ClearSerializer(StrictSerializer):
    tasks = serializers.ListField(child=serializers.CharField(max_length=40), min_length=1, max_length=500)
    downstream = serializers.BooleanField(required=False, default=True)
    only_failed_items = serializers.BooleanField(
        required=False, default=False, help_text="Of one task with items: those that failed, not all."
    )

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if attrs["only_failed_items"] and len(attrs["tasks"]) != 1:
            raise serializers.ValidationError({"tasks": "Name one task."})
        return attrs


class TaskNameSerializer(StrictSerializer):
    task = serializers.CharField(max_length=40)
    index = serializers.IntegerField(required=False, default=WHOLE, min_value=WHOLE)


class MarkSerializer(TaskNameSerializer):
    status = serializers.CharField(max_length=16, help_text="succeeded, failed or skipped")


class IgnoreSerializer(TaskNameSerializer):
    ignored = serializers.BooleanField(required=False, default=True)
