from django.urls import path

from .consumers import ScheduleConsumer

websocket_urlpatterns = [path("ws/schedules/<uuid:uid>/", ScheduleConsumer.as_asgi())]
