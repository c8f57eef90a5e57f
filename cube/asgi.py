"""The web process: pages, REST and websockets in one ASGI application."""

import os

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "cube.settings.base")
django.setup(set_prefix=False)

from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402
from django.urls import get_resolver, re_path  # noqa: E402

from apps.accounts.sockets import NoSuchSocket, SocketIdentity  # noqa: E402
from apps.alerts.routing import websocket_urlpatterns as alerts  # noqa: E402
from apps.core import heap  # noqa: E402
from apps.jobs.routing import websocket_urlpatterns as jobs  # noqa: E402
from apps.logs.routing import websocket_urlpatterns as logs  # noqa: E402
from apps.pipelines.routing import websocket_urlpatterns as pipelines  # noqa: E402
from apps.schedules.routing import websocket_urlpatterns as schedules  # noqa: E402
from cube.http import ThreadedHandler  # noqa: E402

application = ProtocolTypeRouter(
    {
        "http": ThreadedHandler(),
        "websocket": SocketIdentity(
            URLRouter([*logs, *jobs, *pipelines, *schedules, *alerts, re_path("", NoSuchSocket.as_asgi())])
        ),
    }
)

len(get_resolver().url_patterns)  # Every view is imported now, not in somebody's first request.
heap.settle()
