from argparse import ArgumentParser
from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from apps.accounts import selectors, services
from apps.accounts.choices import TokenScope
from apps.core.errors import DomainError


class Command(BaseCommand):
    help = "Make an API token for a user and print it, and nothing else, on standard output."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("username")
        parser.add_argument("--name", default="command line")
        parser.add_argument("--read-only", action="store_true")
        parser.add_argument("--days", type=int, help="how long it is valid; without it, until revoked")

    def handle(self, *args: Any, **options: Any) -> None:
        user = selectors.person(options["username"])
        if user is None:
            raise CommandError(f"There is no active user {options['username']!r}.")
        days = options["days"]
        if days is not None and not 0 < days <= 3650:
            raise CommandError("--days takes 1 to 3650.")
        try:
            _token, secret = services.create_token(
                user=user,
                name=options["name"],
                scope=TokenScope.READ if options["read_only"] else TokenScope.WRITE,
                expires_at=timezone.now() + timedelta(days=days) if days else None,
            )
        except DomainError as refusal:
            raise CommandError(str(refusal)) from None
        self.stdout.write(secret)
