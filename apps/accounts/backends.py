from typing import Any

from django.contrib.auth.backends import BaseBackend

from . import roles


class PlatformRoleBackend(BaseBackend):
    """Model permissions from a user's platform role, computed rather than stored, so that they cannot drift."""

    def has_perm(self, user_obj: Any, perm: str, obj: Any = None) -> bool:
        # Asked about an object, roles stay silent: they speak of everything, and projects are asked for in access.py.
        return obj is None and user_obj.is_active and roles.grants(getattr(user_obj, "platform_role", ""), perm)

    def has_module_perms(self, user_obj: Any, app_label: str) -> bool:
        return bool(user_obj.is_active and getattr(user_obj, "platform_role", ""))
