"""Refusals a user can act on. Anything else is a bug and should surface as one.

Every interface turns a `DomainError` into its own words: a problem document, a form error, a message.
"""

from collections.abc import Mapping


class DomainError(Exception):
    """The base of every refusal. `code` is stable for programs; the message is for people."""

    code = "refused"


class InvalidInput(DomainError):
    """What was sent cannot be accepted. `fields` maps a path (`resources.cpu`) to what is wrong there."""

    code = "invalid_input"

    def __init__(self, fields: Mapping[str, str | list[str]]) -> None:
        self.fields: dict[str, list[str]] = {path: [e] if isinstance(e, str) else list(e) for path, e in fields.items()}
        super().__init__("; ".join(f"{path}: {' '.join(errors)}" for path, errors in self.fields.items()))


class InvalidTransition(DomainError):
    code = "invalid_transition"


class NotAllowed(DomainError):
    """The actor may see this but not do that."""

    code = "not_allowed"
