from dataclasses import asdict
from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from apps.jobtemplates.docs import docs_for
from apps.jobtemplates.models import JobTemplate, TemplateVersion


class ParamDocSerializer(serializers.Serializer):
    name = serializers.CharField()
    label = serializers.CharField()  # type: ignore[assignment]  # a field may be called label
    type = serializers.CharField()
    required = serializers.BooleanField()  # type: ignore[assignment]
    default = serializers.JSONField(allow_null=True)
    has_default = serializers.BooleanField()
    range = serializers.CharField()
    help = serializers.CharField()
    applies = serializers.CharField()
    choices = serializers.ListField(child=serializers.CharField())
    group = serializers.CharField()
    advanced = serializers.BooleanField()


class VersionSerializer(serializers.ModelSerializer):
    """One edition in full: the schema to validate against, the body it renders, and the same in words."""

    template: Any = serializers.SlugRelatedField(slug_field="slug", read_only=True)
    params = serializers.SerializerMethodField(help_text="The schema in words, in the order of the form.")
    example = serializers.SerializerMethodField(help_text="A body for POST /projects/<slug>/jobs/.")

    class Meta:
        model = TemplateVersion
        fields = ["template", "number", "notes", "created_at", "schema", "body", "params", "example"]
        read_only_fields = fields

    @extend_schema_field(ParamDocSerializer(many=True))
    def get_params(self, version: TemplateVersion) -> list[dict[str, Any]]:
        return [asdict(row) for row in docs_for(version).params]

    def get_example(self, version: TemplateVersion) -> dict[str, Any]:
        return docs_for(version).example


class VersionSummarySerializer(serializers.ModelSerializer):
    class Meta:
        model = TemplateVersion
        fields = ["number", "notes", "created_at"]
        read_only_fields = fields


class TemplateSummarySerializer(serializers.ModelSerializer):
    latest = VersionSummarySerializer(read_only=True, allow_null=True)

    class Meta:
        model = JobTemplate
        fields = ["slug", "name", "summary", "description", "category", "icon", "position", "is_enabled", "latest"]
        read_only_fields = fields


class TemplateSerializer(TemplateSummarySerializer):
    latest = VersionSerializer(read_only=True, allow_null=True)  # type: ignore[assignment]  # the same, in full


class PublishSerializer(serializers.Serializer):
    """A new edition. Words that are left out stay as they are. Unknown fields are refused."""

    name = serializers.CharField(max_length=100, required=False)
    summary = serializers.CharField(max_length=200, required=False, allow_blank=True)
    description = serializers.CharField(required=False, allow_blank=True, max_length=10_000)
    category = serializers.CharField(max_length=50, required=False, allow_blank=True)
    icon = serializers.CharField(max_length=40, required=False)
    position = serializers.IntegerField(min_value=0, max_value=100_000, required=False)
    notes = serializers.CharField(max_length=300, required=False, allow_blank=True)
    schema = serializers.JSONField()
    body = serializers.JSONField()

    def to_internal_value(self, data: Any) -> Any:
        if isinstance(data, dict) and (unknown := data.keys() - self.fields.keys()):
            raise serializers.ValidationError({name: ["There is no such field."] for name in unknown})
        return super().to_internal_value(data)
