"""The shipper of logs. Several may run: each cluster is shipped by whoever holds its lease."""

import os
import signal
import socket
import sys
import threading
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError

from apps.logs.shipping import Shipper
from apps.logs.sinks import open_sink


class Command(BaseCommand):
    help = "Ship every stored log line to CUBE_LOG_SINK, until SIGTERM or Ctrl-C."

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            sink = open_sink()
        except ImproperlyConfigured as error:
            raise CommandError(str(error)) from None
        if sink is None:
            raise CommandError("CUBE_LOG_SINK is not set: there is nowhere to ship logs to.")
        stop = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stop.set())
        try:
            Shipper(sink, holder=f"{socket.gethostname()[:60]}-{os.getpid()}", stop=stop).run()
        finally:
            sink.close()
            sys.stdout.flush()
