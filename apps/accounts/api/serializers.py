from rest_framework import serializers

from apps.accounts.choices import TokenScope
from apps.accounts.models import ApiToken
from apps.core.api.serializers import StrictModelSerializer, StrictSerializer


class TokenSerializer(StrictModelSerializer):
    """What is known of a token: never its secret."""

    is_usable = serializers.BooleanField(read_only=True)

    class Meta:
        model = ApiToken
        fields = [
            "uid",
            "name",
            "prefix",
            "scope",
            "created_at",
            "expires_at",
            "last_used_at",
            "revoked_at",
            "is_usable",
        ]
        read_only_fields = fields


class NewTokenSerializer(StrictSerializer):
    """What to ask for. Without `expires_at` a token is valid until it is revoked."""

    name = serializers.CharField(max_length=100)
    scope = serializers.ChoiceField(choices=TokenScope.choices, default=TokenScope.WRITE)
    expires_at = serializers.DateTimeField(required=False, allow_null=True)


class CreatedTokenSerializer(TokenSerializer):
    """The only answer that holds a secret."""

    secret = serializers.CharField(read_only=True)

    class Meta(TokenSerializer.Meta):
        fields = [*TokenSerializer.Meta.fields, "secret"]
        read_only_fields = fields
