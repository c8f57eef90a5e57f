from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class JobTemplatesConfig(AppConfig):
    name = "apps.jobtemplates"
    label = "jobtemplates"
    verbose_name = _("Job templates")
