from typing import Any

import django_filters
from django.db.models import QuerySet

from apps.alerts.choices import Condition
from apps.alerts.models import Incident


class IncidentFilter(django_filters.FilterSet):
    """`?is_open=true&condition=late&rule=<uid>&pipeline=<uid>&schedule=<uid>`."""

    is_open = django_filters.BooleanFilter(method="by_end", label="not over yet")
    condition = django_filters.MultipleChoiceFilter(choices=Condition.choices)
    rule = django_filters.UUIDFilter(field_name="rule__uid")
    pipeline = django_filters.UUIDFilter(field_name="pipeline__uid")
    schedule = django_filters.UUIDFilter(field_name="schedule__uid")

    class Meta:
        model = Incident
        fields = ["is_open", "condition", "rule", "pipeline", "schedule"]

    def by_end(self, queryset: QuerySet[Any], name: str, value: bool) -> QuerySet[Any]:
        return queryset.filter(closed_at__isnull=value)
