from django.apps import AppConfig


class DevclusterConfig(AppConfig):
    name = "apps.devcluster"
    label = "devcluster"
