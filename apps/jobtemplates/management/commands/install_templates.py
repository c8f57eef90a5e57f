from typing import Any

from django.core.management.base import BaseCommand, CommandError

from apps.core.errors import InvalidInput
from apps.jobtemplates import services


class Command(BaseCommand):
    help = "Publish the templates that come with Cube. Run at every start; publishes only what changed."

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            published = services.install_shipped()
        except InvalidInput as refusal:
            raise CommandError(str(refusal)) from None
        for version in published:
            self.stdout.write(f"published {version}")
        if not published:
            self.stdout.write("all templates are up to date")
