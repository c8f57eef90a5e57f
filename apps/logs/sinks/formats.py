"""Records as the bytes a log system takes. Pure: one function a format."""

from datetime import UTC, datetime
from itertools import groupby
from typing import Any

import orjson

from .base import Labels, Shipped


def fields_of(record: Shipped) -> dict[str, Any]:
    """The record with its labels; bytes that are no UTF-8 are U+FFFD, as JSON cannot hold them."""
    labels = record.labels
    return {
        "time": record.stamp,
        "project": labels.project,
        "job": labels.job,
        "job_name": labels.job_name,
        "pod": labels.pod,
        "rank": labels.rank,
        "container": labels.container,
        "attempt": labels.attempt,
        "restart": labels.restart,
        "stream": record.stream,
        "ordinal": record.ordinal,
        "kind": record.kind,
        "text": record.text.decode("utf-8", "replace"),
    }


def ndjson(records: list[Shipped]) -> bytes:
    """One JSON object a line."""
    return b"".join(orjson.dumps(fields_of(record), option=orjson.OPT_APPEND_NEWLINE) for record in records)


def elasticsearch(records: list[Shipped], index: str) -> bytes:
    """The body of `_bulk` (https://www.elastic.co/docs/api/doc/elasticsearch/operation/operation-bulk).

    A record's id is always the same, so one that is sent twice is there once.
    """
    lines = []
    for record in records:
        action = {"create": {"_index": index, "_id": f"{record.labels.uid}-{record.ordinal}"}}
        fields = fields_of(record)
        lines += orjson.dumps(action), orjson.dumps({"@timestamp": fields.pop("time"), **fields})
    return b"\n".join([*lines, b""])


def loki(records: list[Shipped]) -> bytes:
    """The body of a push (https://grafana.com/docs/loki/latest/reference/loki-http-api/#ingest-logs).

    What differs from line to line is structured metadata: as a label it would make a stream of each line.
    """
    streams = [
        {"stream": labels_of(labels), "values": [value_of(record) for record in run]}
        for labels, run in groupby(records, key=lambda record: record.labels)
    ]
    return orjson.dumps({"streams": streams})


def labels_of(labels: Labels) -> dict[str, str]:
    named = {
        "source": "cube",
        "project": labels.project,
        "job": labels.job,
        "job_name": labels.job_name,
        "pod": labels.pod,
        "container": labels.container,
        "attempt": str(labels.attempt),
        "restart": str(labels.restart),
    }
    return named if labels.rank is None else {**named, "rank": str(labels.rank)}


def value_of(record: Shipped) -> list[Any]:
    extra = {"ordinal": str(record.ordinal), "kind": record.kind}
    return [str(nanoseconds(record.stamp)), record.text.decode("utf-8", "replace"), extra]


def nanoseconds(stamp: str) -> int:
    """A stored stamp as nanoseconds since 1970."""
    second = datetime.fromisoformat(stamp[:19]).replace(tzinfo=UTC)
    return int(second.timestamp()) * 1_000_000_000 + int(stamp[20:29])
