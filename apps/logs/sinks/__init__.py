"""The seam to a site's own log system: where stored records are shipped to."""

from .base import Refused, Shipped, Sink, SinkError, Unavailable
from .connect import open_sink

__all__ = ["Refused", "Shipped", "Sink", "SinkError", "Unavailable", "open_sink"]
