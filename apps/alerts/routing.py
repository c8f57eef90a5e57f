from django.urls import path

from .consumers import ProjectAlertsConsumer

websocket_urlpatterns = [path("ws/projects/<slug:project>/alerts/", ProjectAlertsConsumer.as_asgi())]
