"""From the setting to a sink."""

from functools import partial
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from .base import Sink
from .formats import elasticsearch, loki, ndjson
from .targets import Folder, Http, Stdout, of_bulk, of_loki

FORMS = (
    "stdout:, file:///folder, ndjson+https://host/path, elasticsearch+https://host:9200/index or loki+https://host:3100"
)
NDJSON = "application/x-ndjson"


def open_sink() -> Sink | None:
    """What CUBE_LOG_SINK names; None when nothing is to be shipped. Raises ImproperlyConfigured."""
    if not settings.CUBE_LOG_SINK:
        return None
    address = urlsplit(settings.CUBE_LOG_SINK)
    if address.scheme == "stdout":
        return Stdout()
    if address.scheme == "file" and address.path.startswith("/"):
        return Folder(Path(address.path))
    system, _, scheme = address.scheme.partition("+")
    if scheme not in {"http", "https"} or not address.netloc:
        raise ImproperlyConfigured(f"CUBE_LOG_SINK is one of: {FORMS}.")
    return _http(system, address._replace(scheme=scheme))


def _http(system: str, address: SplitResult) -> Sink:
    authorization = settings.CUBE_LOG_SINK_AUTHORIZATION
    match system:
        case "ndjson":
            return Http(address.geturl(), encode=ndjson, content_type=NDJSON, authorization=authorization)
        case "elasticsearch":
            head, _, index = address.path.rstrip("/").rpartition("/")
            return Http(
                address._replace(path=f"{head}/_bulk").geturl(),
                encode=partial(elasticsearch, index=index or "cube-logs"),
                content_type=NDJSON,
                authorization=authorization,
                read=of_bulk,
            )
        case "loki":
            url = address._replace(path=f"{address.path.rstrip('/')}/loki/api/v1/push").geturl()
            return Http(url, encode=loki, content_type="application/json", authorization=authorization, read=of_loki)
    raise ImproperlyConfigured(f"CUBE_LOG_SINK is one of: {FORMS}.")
