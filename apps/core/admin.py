"""What admin pages of every room share."""

from typing import Any

from django.http import HttpRequest


class ReadOnly:
    """Mixin, for pages and inlines: rows that only the machine, or a service, writes. Whether they may be read is the
    role's affair."""

    def has_add_permission(self, request: HttpRequest, *args: Any) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False
