"""What a project secret may hold. Pure rules: they know no database."""

import re
from collections.abc import Mapping
from typing import Any

from django.utils.translation import gettext as _

from apps.core.errors import InvalidInput

from .choices import SecretKind

MAX_KEYS = 64
MAX_BYTES = 256 * 1024
MAX_SECRETS = 200  # per project
# Valid both as an environment variable and as a key of a Kubernetes secret.
KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,252}")
REGISTRY_FIELDS = ("server", "username", "password")
# host[:port][/path], as image names begin.
SERVER = re.compile(r"(?=.{1,255}\Z)[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?(:[0-9]{1,5})?(/[A-Za-z0-9._/-]*)?")


def check(kind: str, data: Mapping[str, Any]) -> dict[str, str]:
    """The data as it will be kept. Raises InvalidInput with a path for each thing that is wrong."""
    if kind not in SecretKind.values:
        raise InvalidInput({"kind": _("There is no such kind of secret.")})
    if not data:
        raise InvalidInput({"data": _("A secret needs at least one key.")})
    if len(data) > MAX_KEYS:
        raise InvalidInput({"data": _("A secret holds at most %(n)d keys.") % {"n": MAX_KEYS}})
    errors = _registry_errors(data) if kind == SecretKind.REGISTRY else _key_errors(data)
    errors |= {f"data.{shown(key)}": text for key, value in data.items() if (text := _value_error(value))}
    if errors:
        raise InvalidInput(errors)
    size = sum(len(key.encode()) + len(value.encode()) for key, value in data.items())
    if size > MAX_BYTES:
        raise InvalidInput({"data": _("A secret holds at most %(n)d KiB in all.") % {"n": MAX_BYTES // 1024}})
    return dict(data)


def shown(key: object) -> str:
    return str(key)[:60]


def _key_errors(data: Mapping[str, Any]) -> dict[str, str]:
    text = _("Use letters, digits and '_', not starting with a digit, at most 253 characters.")
    return {f"data.{shown(key)}": text for key in data if not (isinstance(key, str) and KEY.fullmatch(key))}


def _registry_errors(data: Mapping[str, Any]) -> dict[str, str]:
    errors = {f"data.{name}": _("This is required.") for name in REGISTRY_FIELDS if not data.get(name)}
    foreign = _("Registry credentials hold a server, a username and a password only.")
    errors |= {f"data.{shown(name)}": foreign for name in data if name not in REGISTRY_FIELDS}
    server = data.get("server")
    if isinstance(server, str) and server and not SERVER.fullmatch(server):
        errors["data.server"] = _("Write it as in an image name: registry.example.com:5000, without https://.")
    return errors


def _value_error(value: object) -> str | None:
    if not isinstance(value, str):
        return _("The value must be text.")
    if "\x00" in value:
        return _("The value holds a NUL character, which no environment variable can.")
    try:
        value.encode()
    except UnicodeEncodeError:
        return _("The value is not valid text.")
    return None
