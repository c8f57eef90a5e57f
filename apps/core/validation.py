"""A model's own rules, told in the words every interface understands."""

from django.core.exceptions import NON_FIELD_ERRORS, ValidationError
from django.db.models import Model

from .errors import InvalidInput


def clean(instance: Model, exclude: set[str] | None = None) -> None:
    """`full_clean`, raising InvalidInput with the field names of the model."""
    try:
        instance.full_clean(exclude=exclude)
    except ValidationError as error:
        fields = {("" if name == NON_FIELD_ERRORS else name): texts for name, texts in error.message_dict.items()}
        raise InvalidInput(fields) from None
