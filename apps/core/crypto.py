"""Encryption at rest for kubeconfigs and project secrets.

Fernet (AES-128-CBC + HMAC-SHA256) through `cryptography`. The first key of `CUBE_ENCRYPTION_KEYS` encrypts,
every key decrypts, so keys rotate by prepending a new one.
"""

from typing import Any

import orjson
from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings
from django.db import models

from .errors import DomainError


class Undecryptable(DomainError):
    """The value was encrypted under a key this installation no longer has."""

    code = "undecryptable"


def _fernet() -> MultiFernet:
    return MultiFernet([Fernet(key) for key in settings.CUBE_ENCRYPTION_KEYS])


def encrypt(text: str) -> str:
    return _fernet().encrypt(text.encode()).decode()


def decrypt(token: str) -> str:
    try:
        return _fernet().decrypt(token.encode()).decode()
    except InvalidToken:
        raise Undecryptable(
            "A stored secret cannot be decrypted: CUBE_ENCRYPTION_KEYS lacks the key it was encrypted with."
        ) from None


class EncryptedTextField(models.TextField):
    """Text that the database only ever sees encrypted. Not searchable, and kept out of the admin by its owners."""

    def get_prep_value(self, value: Any) -> Any:
        return value if value in (None, "") else encrypt(value)

    def from_db_value(self, value: Any, expression: Any, connection: Any) -> Any:
        return value if value in (None, "") else decrypt(value)


class EncryptedJSONField(EncryptedTextField):
    """A JSON object kept the same way."""

    def get_prep_value(self, value: Any) -> Any:
        return value if value is None else super().get_prep_value(orjson.dumps(value).decode())

    def from_db_value(self, value: Any, expression: Any, connection: Any) -> Any:
        text = super().from_db_value(value, expression, connection)
        return orjson.loads(text) if text else {}

    def to_python(self, value: Any) -> Any:
        return orjson.loads(value) if isinstance(value, str) and value else value
