"""What happens to logs when what they belong to goes."""

from typing import Any

from django.db.models.signals import pre_delete
from django.dispatch import receiver

from . import compaction
from .models import LogStream


@receiver(pre_delete, sender=LogStream)
def note_garbage(instance: LogStream, **_: Any) -> None:
    """In the transaction that deletes a stream: its objects are deleted by a collector, which alone may write them."""
    compaction.abandon(instance)
