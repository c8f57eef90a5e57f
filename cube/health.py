"""What an orchestrator and Prometheus ask. None of it tells anything about tenants."""

import secrets

from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.core.cache import cache
from django.db import DatabaseError, connection
from django.http import HttpRequest, HttpResponse, HttpResponseForbidden, JsonResponse
from django_prometheus.exports import ExportToDjangoView
from redis.exceptions import RedisError

LOOPBACK = {"127.0.0.1", "::1"}


@login_not_required
def alive(request: HttpRequest) -> HttpResponse:
    """The process answers."""
    return JsonResponse({"status": "ok", "version": settings.CUBE_VERSION})


@login_not_required
def ready(request: HttpRequest) -> HttpResponse:
    """The process can do its work: database and Redis answer. 503 names what does not."""
    checks = {"database": _database(), "redis": _redis()}
    healthy = all(state == "ok" for state in checks.values())
    return JsonResponse({"status": "ok" if healthy else "unavailable", **checks}, status=200 if healthy else 503)


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


@login_not_required
def metrics(request: HttpRequest) -> HttpResponse:
    """Prometheus metrics: with `CUBE_METRICS_TOKEN` as a bearer token, or from loopback when none is set."""
    expected = settings.CUBE_METRICS_TOKEN
    given = request.headers.get("Authorization", "").removeprefix("Bearer ")
    if expected and not secrets.compare_digest(given.encode(), expected.encode()):
        return HttpResponseForbidden("A metrics token is needed.")
    if not expected and request.META.get("REMOTE_ADDR") not in LOOPBACK:
        return HttpResponseForbidden("Set CUBE_METRICS_TOKEN to read metrics from another machine.")
    return ExportToDjangoView(request)
