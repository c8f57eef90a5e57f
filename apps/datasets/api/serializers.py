from rest_framework import serializers

from apps.datasets.models import Workspace


class WorkspaceSerializer(serializers.ModelSerializer):
    cluster = serializers.SlugRelatedField(slug_field="slug", read_only=True)

    class Meta:
        model = Workspace
        fields = ["cluster", "status", "message", "files", "is_truncated", "listed_at"]
