"""Names for content negotiation. Only refusals pass through here, as problem documents; logs are streamed."""

from rest_framework.renderers import JSONRenderer


class TextRenderer(JSONRenderer):
    media_type = "text/plain"
    format = "text"
    ending = "log"


class NdjsonRenderer(JSONRenderer):
    media_type = "application/x-ndjson"
    format = "ndjson"
    ending = "ndjson"


class ZipRenderer(JSONRenderer):
    media_type = "application/zip"
    format = "zip"
    ending = "zip"
