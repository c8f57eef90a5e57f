from argparse import ArgumentParser, Namespace
from typing import Any

from django.core.management.base import BaseCommand

from apps.devcluster import command


class Command(BaseCommand):
    help = "The development cluster: a Kubernetes-compatible API whose pods are local processes."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        command.add_arguments(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        code = command.run(Namespace(**options))
        if code:
            raise SystemExit(code)
