from typing import Any

from django.db.models import QuerySet
from django.shortcuts import get_object_or_404
from drf_spectacular.utils import extend_schema
from rest_framework.mixins import ListModelMixin, RetrieveModelMixin
from rest_framework.permissions import SAFE_METHODS, BasePermission, IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import GenericViewSet

from apps.core.api.pagination import NewestFirst
from apps.jobtemplates import selectors, services
from apps.jobtemplates.models import JobTemplate, TemplateVersion

from .serializers import PublishSerializer, TemplateSerializer, TemplateSummarySerializer, VersionSerializer


class ReadOrPublish(BasePermission):
    """Any signed-in person reads; publishing is for those who may add versions (platform admins)."""

    def has_permission(self, request: Request, view: Any) -> bool:
        return request.method in SAFE_METHODS or request.user.has_perm("jobtemplates.add_templateversion")


class GalleryOrder(NewestFirst):
    ordering = ("position", "pk")  # type: ignore[assignment]  # one or several, says DRF


class NewestVersions(NewestFirst):
    ordering = "-number"


def templates_for(user: Any) -> QuerySet[JobTemplate]:
    """Enabled templates; operators of the platform also see those that are not offered."""
    if user.has_perm("jobtemplates.view_jobtemplate"):
        return selectors.with_latest(JobTemplate.objects.all())
    return selectors.enabled_templates()


class TemplateViewSet(ListModelMixin, RetrieveModelMixin, GenericViewSet):
    queryset = JobTemplate.objects.none()
    permission_classes = [IsAuthenticated, ReadOrPublish]
    pagination_class = GalleryOrder
    lookup_field = "slug"

    def get_queryset(self) -> QuerySet[JobTemplate]:
        return templates_for(self.request.user)

    def get_serializer_class(self) -> type[TemplateSummarySerializer]:
        return TemplateSummarySerializer if self.action == "list" else TemplateSerializer


class VersionViewSet(ListModelMixin, RetrieveModelMixin, GenericViewSet):
    """The editions of a template. They never change, so a number always means the same."""

    queryset = TemplateVersion.objects.none()
    serializer_class = VersionSerializer
    permission_classes = [IsAuthenticated, ReadOrPublish]
    pagination_class = NewestVersions
    lookup_field = "number"
    lookup_value_regex = "[0-9]{1,9}"

    def get_queryset(self) -> QuerySet[TemplateVersion]:
        template = get_object_or_404(templates_for(self.request.user), slug=self.kwargs["template"])
        return template.versions.select_related("template")

    @extend_schema(request=PublishSerializer, responses={200: VersionSerializer, 201: VersionSerializer})
    def create(self, request: Request, template: str) -> Response:
        """Publish a version: 201, or 200 with the newest one when nothing differs. A new slug makes a new template."""
        sent = PublishSerializer(data=request.data)
        sent.is_valid(raise_exception=True)
        words = {"name": template} | selectors.words_of(template) | sent.validated_data
        before = selectors.newest_number(template)
        version = services.publish_version(slug=template, actor=request.user, **words)
        return Response(VersionSerializer(version).data, status=201 if version.number > before else 200)
