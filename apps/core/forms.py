"""What forms share: a service's refusal stands next to the field it is about."""

from django import forms

from .errors import DomainError, InvalidInput


def take_errors(form: forms.BaseForm, refusal: DomainError) -> None:
    """Put each message of `refusal` at the field its path begins with, or above the form."""
    if not isinstance(refusal, InvalidInput):
        form.add_error(None, str(refusal))
        return
    for path, messages in refusal.fields.items():
        name, _, rest = path.partition(".")
        known = name in form.fields
        for message in messages:
            text = f"{rest}: {message}" if known and rest else message if known else f"{path}: {message}".lstrip(": ")
            form.add_error(name if known else None, text)
