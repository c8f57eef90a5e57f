from typing import Any, cast

from django.db.models import QuerySet
from django.utils.translation import gettext as _
from drf_spectacular.utils import extend_schema
from rest_framework.mixins import ListModelMixin, RetrieveModelMixin
from rest_framework.permissions import IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import GenericViewSet

from apps.accounts import selectors, services
from apps.accounts.models import ApiToken, User
from apps.core.errors import InvalidInput

from .serializers import CreatedTokenSerializer, NewTokenSerializer, TokenSerializer


class TokenViewSet(ListModelMixin, RetrieveModelMixin, GenericViewSet):
    """The caller's own API tokens."""

    queryset = ApiToken.objects.none()
    serializer_class = TokenSerializer
    permission_classes = [IsAuthenticated]
    lookup_field = "uid"
    lookup_value_converter = "uuid"

    def get_queryset(self) -> QuerySet[ApiToken]:
        if getattr(self, "swagger_fake_view", False):
            return cast("QuerySet[ApiToken]", super().get_queryset())
        return selectors.tokens_of(self.request.user)

    @extend_schema(request=NewTokenSerializer, responses={201: CreatedTokenSerializer})
    def create(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Make a token. The answer holds its `secret`, which cannot be read again."""
        asked = NewTokenSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        expires_at = asked.validated_data.get("expires_at")
        used = request.auth if isinstance(request.auth, ApiToken) else None
        if used is not None and used.expires_at and (expires_at is None or expires_at > used.expires_at):
            raise InvalidInput({"expires_at": _("A token cannot make one that outlives it.")})
        user = cast("User", request.user)
        token, secret = services.create_token(user=user, actor=user, **asked.validated_data)
        token.secret = secret  # type: ignore[attr-defined]
        answer = Response(CreatedTokenSerializer(token).data, status=201)
        answer["Cache-Control"] = "no-store"
        return answer

    @extend_schema(responses={204: None})
    def destroy(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Revoke a token. Revoking it again changes nothing."""
        services.revoke_token(token=self.get_object(), actor=cast("User", request.user))
        return Response(status=204)
