"""From the kind of a channel to its notifier."""

from django.conf import settings
from django.utils.module_loading import import_string

from .base import Notifier


def connect(kind: str) -> Notifier:
    """What `CUBE_NOTIFIERS` names for this kind of channel."""
    found: Notifier = import_string(settings.CUBE_NOTIFIERS[kind])()
    return found
