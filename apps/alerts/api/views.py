from typing import Any

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework.decorators import action
from rest_framework.mixins import ListModelMixin, RetrieveModelMixin
from rest_framework.request import Request
from rest_framework.response import Response

from apps.alerts import services
from apps.alerts.models import Channel, Delivery, Incident, Rule
from apps.projects.api.scoping import ProjectObjectViewSet, ProjectViewSet

from .filters import IncidentFilter
from .serializers import (
    ChannelSerializer,
    CloseSerializer,
    CreateChannelSerializer,
    CreateRuleSerializer,
    DeliverySerializer,
    EditChannelSerializer,
    EditRuleSerializer,
    IncidentSerializer,
    RuleSerializer,
    SnoozeSerializer,
)

SECRETS = ("channel__url", "channel__signing_secret")


def read(serializer: Any) -> dict[str, Any]:
    serializer.is_valid(raise_exception=True)
    return dict(serializer.validated_data)


# -- incidents --------------------------------------------------------------------------------------------------------
class ProjectIncidentViewSet(ListModelMixin, ProjectViewSet):
    """The incidents of a project, the newest first."""

    queryset = Incident.objects.for_lists()
    serializer_class = IncidentSerializer
    filterset_class = IncidentFilter
    project_permissions = {"list": "view_project"}


class IncidentViewSet(RetrieveModelMixin, ProjectObjectViewSet):
    """One incident, what was told of it, and the verbs of who is on call."""

    queryset: QuerySet[Incident] = Incident.objects.for_lists()
    serializer_class = IncidentSerializer
    project_permissions = {
        "retrieve": "view_project",
        "deliveries": "view_project",
        "snooze": "snooze_alert",
        "wake": "snooze_alert",
        "close": "snooze_alert",
    }

    @extend_schema(responses=DeliverySerializer(many=True))
    @action(detail=True, methods=["get"])
    def deliveries(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """The messages about it, the newest first."""
        rows = Delivery.objects.visible_to(request.user).filter(incident=self.get_object())
        page = self.paginate_queryset(rows.select_related("channel").defer(*SECRETS))
        return self.get_paginated_response(DeliverySerializer(page, many=True).data)

    @extend_schema(request=SnoozeSerializer, responses=IncidentSerializer)
    @action(detail=True, methods=["post"])
    def snooze(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        asked = read(SnoozeSerializer(data=request.data))
        return self._answer(services.snooze_incident(incident=self.get_object(), actor=request.user, **asked))

    @extend_schema(request=None, responses=IncidentSerializer)
    @action(detail=True, methods=["post"])
    def wake(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return self._answer(services.wake_incident(incident=self.get_object(), actor=request.user))

    @extend_schema(request=CloseSerializer, responses=IncidentSerializer)
    @action(detail=True, methods=["post"])
    def close(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        asked = read(CloseSerializer(data=request.data))
        return self._answer(services.close_incident(incident=self.get_object(), actor=request.user, **asked))

    def _answer(self, incident: Incident) -> Response:
        return Response(IncidentSerializer(incident).data)


# -- rules ------------------------------------------------------------------------------------------------------------
class ProjectRuleViewSet(ListModelMixin, ProjectViewSet):
    """The alert rules of a project: list them, make another."""

    queryset = Rule.objects.for_lists()
    serializer_class = RuleSerializer
    project_permissions = {"list": "view_project", "create": "edit_alert_rule"}

    @extend_schema(request=CreateRuleSerializer, responses={201: RuleSerializer})
    def create(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        context = {"request": request, "project": self.project}
        asked = read(CreateRuleSerializer(data=request.data, context=context))
        rule = services.create_rule(project=self.project, actor=request.user, **asked)
        return Response(RuleSerializer(rule).data, status=201)


class RuleViewSet(RetrieveModelMixin, ProjectObjectViewSet):
    """One alert rule, by its uid."""

    queryset: QuerySet[Rule] = Rule.objects.for_lists()
    serializer_class = RuleSerializer
    project_permissions = {
        "retrieve": "view_project",
        "partial_update": "edit_alert_rule",
        "destroy": "edit_alert_rule",
        "snooze": "snooze_alert",
        "wake": "snooze_alert",
    }

    @extend_schema(request=EditRuleSerializer, responses=RuleSerializer)
    def partial_update(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        rule = self.get_object()
        context = {"request": request, "project": rule.project}
        asked = read(EditRuleSerializer(data=request.data, context=context))
        return self._answer(services.edit_rule(rule=rule, actor=request.user, **asked))

    def destroy(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        services.delete_rule(rule=self.get_object(), actor=request.user)
        return Response(status=204)

    @extend_schema(request=SnoozeSerializer, responses=RuleSerializer)
    @action(detail=True, methods=["post"])
    def snooze(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        asked = read(SnoozeSerializer(data=request.data))
        return self._answer(services.snooze_rule(rule=self.get_object(), actor=request.user, **asked))

    @extend_schema(request=None, responses=RuleSerializer)
    @action(detail=True, methods=["post"])
    def wake(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return self._answer(services.wake_rule(rule=self.get_object(), actor=request.user))

    def _answer(self, rule: Rule) -> Response:
        return Response(RuleSerializer(rule).data)


# -- channels ---------------------------------------------------------------------------------------------------------
class ProjectChannelViewSet(ListModelMixin, ProjectViewSet):
    """Where alerts of a project go: list the channels, make another."""

    queryset = Channel.objects.without_secrets().select_related("project")
    serializer_class = ChannelSerializer
    project_permissions = {"list": "view_project", "create": "manage_alert_channels"}

    @extend_schema(request=CreateChannelSerializer, responses={201: ChannelSerializer})
    def create(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        asked = read(CreateChannelSerializer(data=request.data))
        channel = services.create_channel(project=self.project, actor=request.user, **asked)
        return Response(ChannelSerializer(channel).data, status=201)


class ChannelViewSet(RetrieveModelMixin, ProjectObjectViewSet):
    """One channel, by its uid."""

    queryset: QuerySet[Channel] = Channel.objects.without_secrets().select_related("project")
    serializer_class = ChannelSerializer
    project_permissions = {
        "retrieve": "view_project",
        "partial_update": "manage_alert_channels",
        "destroy": "manage_alert_channels",
        "test": "manage_alert_channels",
    }

    @extend_schema(request=EditChannelSerializer, responses=ChannelSerializer)
    def partial_update(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        asked = read(EditChannelSerializer(data=request.data))
        channel = services.edit_channel(channel=self.get_object(), actor=request.user, **asked)
        return Response(ChannelSerializer(channel).data)

    def destroy(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        services.delete_channel(channel=self.get_object(), actor=request.user)
        return Response(status=204)

    @extend_schema(request=None, responses={202: DeliverySerializer})
    @action(detail=True, methods=["post"])
    def test(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Send a test message. It is on its way when this answers; the channel's `problem` tells what became of it."""
        delivery = services.send_test(channel=self.get_object(), actor=request.user)
        return Response(DeliverySerializer(delivery).data, status=202)
