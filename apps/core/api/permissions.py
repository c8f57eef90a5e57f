from typing import Any

from rest_framework.permissions import BasePermission


class Refuse(BasePermission):
    """The default of the API: a view that does not say who may call it answers nobody."""

    def has_permission(self, request: Any, view: Any) -> bool:
        return False
