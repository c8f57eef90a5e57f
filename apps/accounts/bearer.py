"""Reading `Authorization: Bearer cube_…`, the same for REST and websockets. Tokens never travel in an address."""

from .models import ApiToken
from .selectors import token_for

SCHEME = "bearer"


def secret_in(header: str) -> str | None:
    """The secret of a bearer header; None when the header speaks another scheme or there is none."""
    scheme, _, secret = header.strip().partition(" ")
    return secret.strip() if scheme.lower() == SCHEME else None


def token_in(header: str) -> ApiToken | None:
    """The usable token a bearer header names, its user loaded; None when it names none."""
    return token_for(secret_in(header) or "")
