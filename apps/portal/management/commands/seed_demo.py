from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from apps.portal import demo, laptop


class Command(BaseCommand):
    help = "Make the demo people, project and first job that are missing. `manage.py up` runs it; production does not."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--url", default=f"http://{laptop.HOST}:{laptop.port_from_environment()}")

    def handle(self, *args: Any, **options: Any) -> None:
        made = demo.seed(url=options["url"])
        self.stdout.write(f"Sign-ins of {len(made.users)} people are in {demo.path()}")
