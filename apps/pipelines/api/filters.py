from typing import Any

import django_filters
from django.db.models import QuerySet

from apps.pipelines.choices import Launch, RunStatus, TaskStatus
from apps.pipelines.models import Pipeline, Run, TaskRun


class PipelineFilter(django_filters.FilterSet):
    """`?search=digits&archived=true`; archived ones are left out otherwise."""

    search = django_filters.CharFilter(field_name="name", lookup_expr="icontains", label="part of the name")
    archived = django_filters.BooleanFilter(field_name="is_archived")

    class Meta:
        model = Pipeline
        fields = ["search", "archived"]


class RunFilter(django_filters.FilterSet):
    """`?status=running&status=queued&pipeline=<uid>&trigger=schedule&logical_after=2026-11-01T00:00:00Z`."""

    status = django_filters.MultipleChoiceFilter(choices=RunStatus.choices)
    trigger = django_filters.MultipleChoiceFilter(choices=Launch.choices)
    pipeline = django_filters.UUIDFilter(field_name="pipeline__uid")
    started_by = django_filters.CharFilter(field_name="started_by__username")
    logical_after = django_filters.IsoDateTimeFilter(field_name="logical_at", lookup_expr="gte")
    logical_before = django_filters.IsoDateTimeFilter(field_name="logical_at", lookup_expr="lt")

    class Meta:
        model = Run
        fields = ["status", "trigger", "pipeline", "started_by", "logical_after", "logical_before"]


class TaskFilter(django_filters.FilterSet):
    """`?status=failed&key=train&items=false`; items of a `for_each` are included otherwise."""

    status = django_filters.MultipleChoiceFilter(choices=TaskStatus.choices)
    key = django_filters.CharFilter()
    items = django_filters.BooleanFilter(method="with_items", label="whether items of a for_each are wanted")

    class Meta:
        model = TaskRun
        fields = ["status", "key", "items"]

    def with_items(self, queryset: QuerySet[Any], name: str, value: bool) -> QuerySet[Any]:
        return queryset if value else queryset.filter(index=-1)
