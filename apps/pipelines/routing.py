from django.urls import path

from .consumers import ProjectRunsConsumer, RunConsumer

websocket_urlpatterns = [
    path("ws/runs/<uuid:uid>/", RunConsumer.as_asgi()),
    path("ws/projects/<slug:project>/runs/", ProjectRunsConsumer.as_asgi()),
]
