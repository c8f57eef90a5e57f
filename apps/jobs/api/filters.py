from typing import Any

import django_filters
from django.db.models import QuerySet

from apps.jobs.choices import JobStatus
from apps.jobs.models import Job


class JobFilter(django_filters.FilterSet):
    """`?status=running&status=queued&template=python&submitted_by=ada&search=digits`."""

    status = django_filters.MultipleChoiceFilter(choices=JobStatus.choices)
    template = django_filters.CharFilter(field_name="template_version__template__slug")
    submitted_by = django_filters.CharFilter(field_name="submitted_by__username")
    cluster = django_filters.CharFilter(field_name="cluster__slug")
    search = django_filters.CharFilter(method="by_name", label="part of the name")

    class Meta:
        model = Job
        fields = ["status", "template", "submitted_by", "cluster", "search"]

    def by_name(self, queryset: QuerySet[Any], name: str, value: str) -> QuerySet[Any]:
        return queryset.filter(name__icontains=value)
