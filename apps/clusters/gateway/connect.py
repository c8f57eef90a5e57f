"""Settings decide which gateway answers; a connection is kept per cluster and kubeconfig."""

from functools import lru_cache
from typing import Any, cast

from django.conf import settings
from django.utils.module_loading import import_string

from .base import Gateway, Streams


def connect(cluster: Any) -> Gateway:
    """The gateway of `cluster` (a `clusters.Cluster`).

    Cached, so that connections are pooled; a new kubeconfig makes a new one.
    """
    return _connect(settings.CUBE_GATEWAY, cluster.pk, cluster.kubeconfig)


@lru_cache(maxsize=64)
def _connect(path: str, cluster_id: int, kubeconfig: str) -> Gateway:
    return cast(Gateway, import_string(path)(kubeconfig))


def open_streams(cluster: Any) -> Streams:
    """A fresh asynchronous connection; the caller closes it."""
    return cast(Streams, import_string(settings.CUBE_STREAMS)(cluster.kubeconfig))
