from django.apps import AppConfig


class LogsConfig(AppConfig):
    name = "apps.logs"
    label = "logs"

    def ready(self) -> None:
        from . import handlers  # noqa: F401
