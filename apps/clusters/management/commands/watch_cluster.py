import signal
import threading
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from apps.clusters.models import Cluster
from apps.clusters.watcher import Watcher, stop_on


class Command(BaseCommand):
    help = "Watch every enabled cluster, or one, and announce what changes. Several may run: each cluster has a lease."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--cluster", default="", metavar="SLUG", help="watch only this cluster")

    def handle(self, *args: Any, **options: Any) -> None:
        only = options["cluster"]
        if only and not Cluster.objects.filter(slug=only).exists():
            raise CommandError(f"There is no cluster {only!r}. Known: {', '.join(_slugs()) or 'none'}.")
        stop = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, stop_on(stop))
        Watcher(stop=stop, only=only).run()


def _slugs() -> list[str]:
    return list(Cluster.objects.values_list("slug", flat=True))
