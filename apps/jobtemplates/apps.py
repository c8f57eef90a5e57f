from django.apps import AppConfig


class JobTemplatesConfig(AppConfig):
    name = "apps.jobtemplates"
    label = "jobtemplates"
