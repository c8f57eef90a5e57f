from typing import Any

import django_filters
from django.db.models import QuerySet

from apps.schedules.choices import SlotStatus
from apps.schedules.models import Schedule, Slot


class ScheduleFilter(django_filters.FilterSet):
    """`?pipeline=<uid>&is_paused=true&search=nightly`."""

    pipeline = django_filters.UUIDFilter(field_name="pipeline__uid")
    is_paused = django_filters.BooleanFilter()
    search = django_filters.CharFilter(method="by_name", label="part of the name")

    class Meta:
        model = Schedule
        fields = ["pipeline", "is_paused", "search"]

    def by_name(self, queryset: QuerySet[Any], name: str, value: str) -> QuerySet[Any]:
        return queryset.filter(name__icontains=value)


class SlotFilter(django_filters.FilterSet):
    """`?status=missed&status=skipped&from=2026-11-01T00:00:00Z&to=…&backfill=<uid>`."""

    status = django_filters.MultipleChoiceFilter(choices=SlotStatus.choices)
    backfill = django_filters.UUIDFilter(field_name="backfill__uid")
    logical_from = django_filters.IsoDateTimeFilter(field_name="logical_at", lookup_expr="gte")
    logical_to = django_filters.IsoDateTimeFilter(field_name="logical_at", lookup_expr="lte")

    class Meta:
        model = Slot
        fields = ["status", "backfill", "logical_from", "logical_to"]
