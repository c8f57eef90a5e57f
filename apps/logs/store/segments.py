"""A segment as bytes: frames, filters, index.

frame …   zstd, at most 512 KiB of whole records each (one record may be longer)
filter …  zstd, one a frame, or none at all
index     JSON: [[bytes, raw bytes, records, earliest stamp, latest stamp, filter bytes], …]
4 bytes   the length of the index, big-endian
"""

import struct
import threading
from collections.abc import Iterator
from typing import NamedTuple

import orjson
import zstandard

from apps.logs.lines import STAMP, raw_records

from . import ngrams

FRAME_BYTES = 512 * 1024
FAST, SMALL = 1, 3  # zstd levels: for what is rewritten soon, and for what stays
_LENGTH = struct.Struct(">I")
_local = threading.local()


class Frame(NamedTuple):
    """Where a frame lies in its segment, and what it holds."""

    offset: int
    size: int
    raw_size: int
    records: int
    earliest: bytes
    latest: bytes
    filter_offset: int
    filter_size: int


class Encoded(NamedTuple):
    data: bytes
    index_size: int  # the last bytes of `data` that `frames_of` asks for
    records: int
    earliest: bytes
    latest: bytes


def encode(body: bytes, *, level: int = FAST, with_filters: bool = False) -> Encoded:
    """The segment of a body that is not empty."""
    frames, filters, index = [], [], []
    for piece in _pieces(body):
        stamps = [raw[:STAMP] for raw in raw_records(piece)]
        frames.append(_compressor(level).compress(piece))
        filters.append(_compressor(FAST).compress(ngrams.filter_of(piece)) if with_filters else b"")
        index.append([len(frames[-1]), len(piece), len(stamps), min(stamps), max(stamps), len(filters[-1])])
    table = orjson.dumps([[*row[:3], row[3].decode(), row[4].decode(), row[5]] for row in index])
    data = b"".join([*frames, *filters, table, _LENGTH.pack(len(table))])
    records = sum(row[2] for row in index)
    return Encoded(data, len(table) + 4, records, min(row[3] for row in index), max(row[4] for row in index))


def frames_of(tail: bytes, size: int) -> list[Frame]:
    """The frames of a segment of `size` bytes, of which `tail` is the end, its whole index included."""
    (length,) = _LENGTH.unpack(tail[-4:])
    rows = orjson.loads(tail[-4 - length : -4])
    offset, filter_offset = 0, sum(row[0] for row in rows)
    frames = []
    for bytes_, raw, records, earliest, latest, filter_size in rows:
        stamps = earliest.encode(), latest.encode()
        frames.append(Frame(offset, bytes_, raw, records, *stamps, filter_offset, filter_size))
        offset += bytes_
        filter_offset += filter_size
    if filter_offset + length + 4 != size:
        raise ValueError("the index of a log segment does not fit its bytes")
    return frames


def expand(data: bytes, raw_size: int) -> bytes:
    """A frame's, or a filter's, bytes. Raises zstandard.ZstdError."""
    if not hasattr(_local, "decompressor"):
        _local.decompressor = zstandard.ZstdDecompressor()
    return bytes(_local.decompressor.decompress(data, max_output_size=raw_size))


def _compressor(level: int) -> zstandard.ZstdCompressor:
    known = _local.__dict__.setdefault("compressors", {})
    if level not in known:
        known[level] = zstandard.ZstdCompressor(level=level, write_checksum=True)
    return known[level]


def _pieces(body: bytes) -> Iterator[bytes]:
    start = 0
    while start < len(body):
        end = len(body) if len(body) - start <= FRAME_BYTES else body.rfind(b"\n", start, start + FRAME_BYTES) + 1
        if end <= start:  # one record longer than a frame
            end = body.index(b"\n", start) + 1
        yield body[start:end]
        start = end
