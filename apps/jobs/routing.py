from django.urls import path

from .consumers import JobConsumer, ProjectJobsConsumer, TerminalConsumer

websocket_urlpatterns = [
    path("ws/jobs/<uuid:uid>/", JobConsumer.as_asgi()),
    path("ws/jobs/<uuid:uid>/terminal/", TerminalConsumer.as_asgi()),
    path("ws/projects/<slug:project>/jobs/", ProjectJobsConsumer.as_asgi()),
]
