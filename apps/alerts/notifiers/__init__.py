"""How messages leave: the only place that speaks SMTP or calls a stranger's address."""

from .base import Message, Notifier, NotifierError, Refused, Target, Unavailable
from .connect import connect

__all__ = ["Message", "Notifier", "NotifierError", "Refused", "Target", "Unavailable", "connect"]
