"""What an orchestrator and Prometheus ask. None of it tells anything about tenants."""

import contextlib
import secrets

from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.core.cache import cache
from django.db import DatabaseError, connection
from django.http import HttpRequest, HttpResponse, HttpResponseForbidden, JsonResponse
from django_prometheus.exports import ExportToDjangoView
from redis.exceptions import RedisError

from apps.alerts import prometheus as alerts
from apps.logs import health as collecting
from apps.logs import prometheus
from apps.schedules import prometheus as schedules

LOOPBACK = {"127.0.0.1", "::1"}


@login_not_required
def alive(request: HttpRequest) -> HttpResponse:
    """The process answers."""
    return JsonResponse({"status": "ok", "version": settings.CUBE_VERSION})


@login_not_required
def ready(request: HttpRequest) -> HttpResponse:
    """The process can do its work: database and Redis answer. 503 names what does not.

    `logs` tells how collecting goes (ok, late, problem: a full disk for one, silent), for whoever looks: this process
    can do its work all the same, and taking it away would help nobody.
    """
    checks = {"database": _database(), "redis": _redis()}
    healthy = all(state == "ok" for state in checks.values())
    told = {"status": "ok" if healthy else "unavailable", **checks, "logs": _logs()}
    return JsonResponse(told, status=200 if healthy else 503)


def _database() -> str:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except DatabaseError:
        return "unavailable"
    return "ok"


def _redis() -> str:
    try:
        cache.set("readyz", 1, 5)
    except (RedisError, OSError):
        return "unavailable"
    return "ok"


def _logs() -> str:
    try:
        return collecting.worst_state()
    except DatabaseError:
        return "unknown"


@login_not_required
def metrics(request: HttpRequest) -> HttpResponse:
    """Prometheus metrics: with `CUBE_METRICS_TOKEN` as a bearer token, or from loopback when none is set."""
    expected = settings.CUBE_METRICS_TOKEN
    given = request.headers.get("Authorization", "").removeprefix("Bearer ")
    if expected and not secrets.compare_digest(given.encode(), expected.encode()):
        return HttpResponseForbidden("A metrics token is needed.")
    if not expected and request.META.get("REMOTE_ADDR") not in LOOPBACK:
        return HttpResponseForbidden("Set CUBE_METRICS_TOKEN to read metrics from another machine.")
    answer = ExportToDjangoView(request)
    with contextlib.suppress(DatabaseError):  # The process's own figures are worth most when the database is away.
        answer.content += prometheus.exposition() + schedules.exposition() + alerts.exposition()
    return answer
