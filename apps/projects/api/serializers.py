from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from apps.core.api.serializers import StrictModelSerializer, StrictSerializer
from apps.projects.choices import SecretKind
from apps.projects.models import Membership, Project, ProjectSecret
from apps.projects.roles import ALL, Role


class ProjectSerializer(StrictModelSerializer):
    """A project as the caller sees it."""

    class Meta:
        model = Project
        fields = ["slug", "name", "description", "log_retention_days", "created_at", "updated_at"]
        read_only_fields = ["slug", "created_at", "updated_at"]


class NewProjectSerializer(StrictSerializer):
    slug = serializers.CharField(max_length=40)
    name = serializers.CharField(max_length=120)
    description = serializers.CharField(max_length=2000, required=False, allow_blank=True)
    owner = serializers.CharField(max_length=150, required=False, help_text="A user name; the caller when missing.")


class MemberSerializer(StrictModelSerializer):
    username = serializers.CharField(source="user.username", read_only=True)
    name = serializers.CharField(source="user.display_name", read_only=True)
    is_active = serializers.BooleanField(source="user.is_active", read_only=True)

    class Meta:
        model = Membership
        fields = ["username", "name", "role", "is_active", "created_at"]
        read_only_fields = fields


class NewRoleSerializer(StrictSerializer):
    role = serializers.ChoiceField(choices=Role.choices)


class SecretSerializer(StrictModelSerializer):
    """Names and keys only; values cannot be read back."""

    keys = serializers.ListField(child=serializers.CharField(), read_only=True)

    class Meta:
        model = ProjectSecret
        fields = ["name", "kind", "keys", "version", "created_at", "updated_at"]
        read_only_fields = fields


class NewSecretSerializer(StrictSerializer):
    """All keys of a secret: those it held before are replaced. Registry credentials: server, username, password."""

    kind = serializers.ChoiceField(choices=SecretKind.choices, default=SecretKind.OPAQUE)
    # The service says what is wrong with each key.
    data = serializers.DictField()  # type: ignore[assignment]  # DRF lifts fields out of the class.


class ProjectOfUserSerializer(serializers.Serializer):
    slug = serializers.CharField()
    name = serializers.CharField()
    role = serializers.ChoiceField(choices=[*Role.choices, ("", "by a platform role or a group")])
    permissions = serializers.SerializerMethodField()

    @extend_schema_field(serializers.ListField(child=serializers.ChoiceField(choices=sorted(ALL))))
    def get_permissions(self, row: Any) -> list[str]:
        return sorted(row.permissions)


class TokenInUseSerializer(serializers.Serializer):
    uid = serializers.UUIDField()
    name = serializers.CharField()
    scope = serializers.CharField()
    expires_at = serializers.DateTimeField(allow_null=True)


class MeSerializer(serializers.Serializer):
    username = serializers.CharField()
    name = serializers.CharField()
    email = serializers.EmailField()
    platform_role = serializers.CharField()
    projects = ProjectOfUserSerializer(many=True)
    token = TokenInUseSerializer(allow_null=True, help_text="The token this request was sent with, or null.")
