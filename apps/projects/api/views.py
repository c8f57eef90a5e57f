from typing import Any, cast

from django.db.models import QuerySet
from django.http import Http404
from django.shortcuts import get_object_or_404
from django.utils.translation import gettext as _
from drf_spectacular.utils import extend_schema
from rest_framework.exceptions import PermissionDenied
from rest_framework.mixins import ListModelMixin
from rest_framework.permissions import IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView
from rest_framework.viewsets import GenericViewSet

from apps.accounts.models import ApiToken, User
from apps.accounts.selectors import person
from apps.core.errors import InvalidInput
from apps.projects import access, selectors, services
from apps.projects.models import Membership, Project, ProjectSecret

from .scoping import ProjectViewSet
from .serializers import (
    MemberSerializer,
    MeSerializer,
    NewProjectSerializer,
    NewRoleSerializer,
    NewSecretSerializer,
    ProjectSerializer,
    SecretSerializer,
)


class Me(APIView):
    """Who asks, and what they may do where."""

    permission_classes = [IsAuthenticated]

    @extend_schema(responses=MeSerializer, operation_id="me")
    def get(self, request: Request) -> Response:
        user = cast("User", request.user)
        answer = {
            "username": user.username,
            "name": user.display_name,
            "email": user.email,
            "platform_role": user.platform_role,
            "projects": selectors.projects_of(user),
            "token": request.auth if isinstance(request.auth, ApiToken) else None,
        }
        return Response(MeSerializer(answer).data)


class ProjectsViewSet(ListModelMixin, GenericViewSet):
    """The projects the caller may see; platform admins make new ones."""

    queryset = Project.objects.none()
    serializer_class = ProjectSerializer
    permission_classes = [IsAuthenticated]

    def get_queryset(self) -> QuerySet[Project]:
        if getattr(self, "swagger_fake_view", False):
            return cast("QuerySet[Project]", super().get_queryset())
        return access.projects_for(self.request.user)

    @extend_schema(request=NewProjectSerializer, responses={201: ProjectSerializer})
    def create(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        if not request.user.has_perm("projects.add_project"):
            raise PermissionDenied(_("Only a platform admin may create projects."))
        asked = NewProjectSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        fields = dict(asked.validated_data)
        owner = named_person(fields.pop("owner", request.user.get_username()), field="owner")
        project = services.create_project(owner=owner, actor=request.user, **fields)
        return Response(ProjectSerializer(project).data, status=201)


class ProjectDetailViewSet(ProjectViewSet):
    """One project."""

    queryset = Project.objects.none()
    serializer_class = ProjectSerializer
    project_permissions = {"retrieve": "view_project", "partial_update": "change_project"}

    def retrieve(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return Response(ProjectSerializer(self.project).data)

    def partial_update(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        asked = ProjectSerializer(self.project, data=request.data, partial=True)
        asked.is_valid(raise_exception=True)
        project = services.update_project(project=self.project, actor=request.user, **asked.validated_data)
        return Response(ProjectSerializer(project).data)


class MemberViewSet(ListModelMixin, ProjectViewSet):
    """Who is in a project, with which role."""

    queryset = Membership.objects.select_related("user")
    serializer_class = MemberSerializer
    lookup_field = "user__username"
    lookup_url_kwarg = "username"
    project_permissions = {"list": "view_project", "update": "manage_members", "destroy": "manage_members"}

    @extend_schema(request=NewRoleSerializer, responses=MemberSerializer)
    def update(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Give somebody exactly this role: add them, or change what they had."""
        asked = NewRoleSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        user = named_person(self.kwargs["username"], field="username")
        membership = services.set_role(
            project=self.project, user=user, role=asked.validated_data["role"], actor=request.user
        )
        return Response(MemberSerializer(membership).data)

    @extend_schema(responses={204: None})
    def destroy(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        member = get_object_or_404(selectors.members_of(self.project), user__username=self.kwargs["username"])
        services.remove_member(project=self.project, user=member.user, actor=request.user)
        return Response(status=204)


class SecretViewSet(ListModelMixin, ProjectViewSet):
    """Secrets of a project. They can be written, named and deleted, never read."""

    queryset = ProjectSecret.objects.defer("data").select_related("project")
    serializer_class = SecretSerializer
    lookup_field = lookup_url_kwarg = "name"
    project_permissions = {"list": "view_project", "update": "manage_secrets", "destroy": "manage_secrets"}

    @extend_schema(request=NewSecretSerializer, responses=SecretSerializer)
    def update(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Create the secret, or replace all its keys."""
        asked = NewSecretSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        secret = services.set_secret(
            project=self.project, name=self.kwargs["name"], actor=request.user, **asked.validated_data
        )
        return Response(SecretSerializer(secret).data)

    @extend_schema(responses={204: None})
    def destroy(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        secret = self.get_queryset().filter(name=self.kwargs["name"]).first()
        if secret is None:
            raise Http404
        services.delete_secret(secret=secret, actor=request.user)
        return Response(status=204)


def named_person(username: str, *, field: str) -> User:
    """The active person of that name. Raises InvalidInput under `field`."""
    user = person(username)
    if user is None:
        raise InvalidInput({field: _("There is no active user %(name)s.") % {"name": username[:150]}})
    return user
