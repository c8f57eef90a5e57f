"""Reading request bodies. DRF reads a JSON body whole, whatever its size, so the limit is kept here."""

from collections.abc import Mapping
from typing import IO, Any, cast

from django.conf import settings
from django.core.exceptions import RequestDataTooBig
from django.utils.translation import gettext as _
from rest_framework.exceptions import ParseError
from rest_framework.parsers import JSONParser


class Limited:
    """A byte stream that refuses to be longer than `limit` bytes, whatever its length header said."""

    def __init__(self, stream: IO[Any], limit: int | None, refusal: str) -> None:
        self.stream, self.left, self.refusal = stream, limit, refusal

    def read(self, size: int = -1) -> bytes:
        if self.left is None:
            return bytes(self.stream.read(size) if size >= 0 else self.stream.read())
        wanted = self.left + 1 if size < 0 else min(size, self.left + 1)
        data = bytes(self.stream.read(wanted))
        self.left -= len(data)
        if self.left < 0:
            raise RequestDataTooBig(self.refusal)
        return data


class LimitedJSONParser(JSONParser):
    """JSON of at most `DATA_UPLOAD_MAX_MEMORY_SIZE` bytes, without what no database column can hold.

    Raises RequestDataTooBig (answered with 413) and ParseError (400).
    """

    def parse(
        self, stream: IO[Any], media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> Any:
        limit = settings.DATA_UPLOAD_MAX_MEMORY_SIZE
        request = (parser_context or {}).get("request")
        announced = request.META.get("CONTENT_LENGTH") if request is not None else None
        if limit is not None and announced and str(announced).isdecimal() and int(announced) > limit:
            raise RequestDataTooBig(too_large(limit))
        body = Limited(stream, limit, too_large(limit))
        try:
            value = super().parse(cast("IO[Any]", body), media_type, parser_context)
        except RecursionError:
            raise ParseError(_("The JSON is nested too deeply.")) from None
        if not storable(value):
            raise ParseError(_("The JSON holds a NUL or half a surrogate pair, which cannot be stored."))
        return value


def too_large(limit: int | None) -> str:
    return _("The body is larger than the allowed %(limit)s bytes.") % {"limit": limit}


def storable(value: Any) -> bool:
    """Whether every text in a parsed document is encodable and free of NUL. Iterative: depth costs no stack."""
    waiting = [value]
    while waiting:
        match waiting.pop():
            case str() as text:
                if "\x00" in text or (not text.isascii() and any("\ud800" <= c <= "\udfff" for c in text)):
                    return False
            case dict() as mapping:
                waiting.extend(mapping.keys())
                waiting.extend(mapping.values())
            case list() as items:
                waiting.extend(items)
    return True
