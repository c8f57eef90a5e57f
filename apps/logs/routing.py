from django.urls import path

from .consumers import JobLogsConsumer

websocket_urlpatterns = [path("ws/jobs/<uuid:uid>/logs/", JobLogsConsumer.as_asgi())]
