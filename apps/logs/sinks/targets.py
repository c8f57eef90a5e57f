"""The sinks: standard output, files in a folder, an HTTP endpoint."""

import gzip
import os
import sys
from collections.abc import Callable
from itertools import groupby
from pathlib import Path
from typing import BinaryIO

import orjson
import requests

from .base import Refused, Shipped, Unavailable
from .formats import ndjson

TIMEOUT_SECONDS = (5, 30)  # to connect, to answer
REFUSALS = {400, 413, 422}
QUOTED = 300
FILE_BYTES = 256 * 1024 * 1024


class Stdout:
    """Newline-JSON for whatever collects the output of containers, as EFK does."""

    def __init__(self, out: BinaryIO | None = None) -> None:
        self._out = out or sys.stdout.buffer

    def send(self, records: list[Shipped]) -> str:
        try:
            self._out.write(ndjson(records))
            self._out.flush()
        except OSError as error:
            raise Unavailable(str(error)) from None
        return ""

    def close(self) -> None:
        pass


class Folder:
    """`<folder>/<project>/<day>.ndjson`, appended; a file larger than 256 MiB is put aside as `<day>.<n>.ndjson`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def send(self, records: list[Shipped]) -> str:
        try:
            for (project, day), run in groupby(records, key=lambda record: (record.labels.project, record.stamp[:10])):
                self._append(self._folder / project / f"{day}.ndjson", ndjson(list(run)))
        except OSError as error:
            raise Unavailable(str(error)) from None
        return ""

    def _append(self, path: Path, data: bytes) -> None:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o750)
        with open(path, "ab", buffering=0) as file:
            size = os.fstat(file.fileno()).st_size
            try:
                rest = memoryview(data)
                while rest:
                    rest = rest[file.write(rest) or 0 :]
                os.fdatasync(file.fileno())
            except OSError:  # A full disk: half a line must not stay.
                os.ftruncate(file.fileno(), size)
                raise
        if size + len(data) > FILE_BYTES:
            number = sum(1 for _ in path.parent.glob(f"{path.stem}.*.ndjson")) + 1
            path.rename(path.with_name(f"{path.stem}.{number}.ndjson"))

    def close(self) -> None:
        pass


def plain(status: int, content: bytes) -> str:
    """An endpoint that takes all or nothing."""
    if status in REFUSALS:
        raise Refused(_quoted(status, content))
    return ""


def of_loki(status: int, content: bytes) -> str:
    """Loki takes what it can and answers 400 about the rest: lines that are too old, or too long for its limits."""
    return _quoted(status, content) if status == 400 else plain(status, content)


def of_bulk(status: int, content: bytes) -> str:
    """Elasticsearch answers 200 and tells of each record: there already is fine, busy passes, others are refused."""
    plain(status, content)
    try:
        items = [item for each in orjson.loads(content)["items"] for item in each.values()]
        failed = [item for item in items if item["status"] >= 300 and item["status"] != 409]
    except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError):
        raise Unavailable(f"This is no answer of Elasticsearch: {_quoted(status, content)}") from None
    for item in failed:
        if item["status"] not in REFUSALS:
            raise Unavailable(_quoted(item["status"], orjson.dumps(item.get("error"))))
    return _quoted(failed[0]["status"], orjson.dumps(failed[0].get("error"))) if failed else ""


def _quoted(status: int, content: bytes) -> str:
    return f"{status}: {content[:QUOTED].decode('utf-8', 'replace')}"


class Http:
    """POSTs gzipped batches; `read` says what an answer means for them."""

    def __init__(
        self,
        url: str,
        *,
        encode: Callable[[list[Shipped]], bytes],
        content_type: str,
        authorization: str = "",
        read: Callable[[int, bytes], str] = plain,
    ) -> None:
        self._url, self._encode, self._read = url, encode, read
        self._session = requests.Session()
        self._session.headers.update({"Content-Type": content_type, "Content-Encoding": "gzip"})
        if authorization:
            self._session.headers["Authorization"] = authorization

    def send(self, records: list[Shipped]) -> str:
        body = gzip.compress(self._encode(records), compresslevel=1)
        try:
            answer = self._session.post(self._url, data=body, timeout=TIMEOUT_SECONDS, allow_redirects=False)
        except requests.RequestException as error:
            raise Unavailable(type(error).__name__) from None  # Its text may hold the address with a password.
        if answer.status_code >= 300 and answer.status_code not in REFUSALS:
            raise Unavailable(_quoted(answer.status_code, answer.content))
        return self._read(answer.status_code, answer.content)

    def close(self) -> None:
        self._session.close()
