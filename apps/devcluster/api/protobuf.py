"""Reading the protobuf bodies that kubectl's typed commands send; answers are always JSON, which they accept.

The envelope is k8s.io/apimachinery/pkg/runtime.Unknown after four magic bytes; field numbers come from `schema.json`.
"""

from __future__ import annotations

import base64
import struct
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import orjson

from . import errors
from .schema import TYPES

MAGIC = b"k8s\x00"


def decode(raw: bytes) -> dict[str, Any]:
    if not raw.startswith(MAGIC):
        raise errors.bad_request(
            "provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]"
        )
    envelope = dict(_fields(raw[4:]))
    head = dict(_fields(envelope.get(1, b"")))
    api_version, kind = head.get(1, b"").decode(), head.get(2, b"").decode()
    group, _, version = api_version.rpartition("/")
    name = f"{(group or 'core').split('.')[0]}.{version}.{kind}"
    if kind == "DeleteOptions":
        name = "meta.v1.DeleteOptions"
    if name not in TYPES:
        raise errors.bad_request(f'no kind "{kind}" is registered for version "{api_version}" as protobuf')
    return {"kind": kind, "apiVersion": api_version, **_message(name, envelope.get(2, b""))}


def _message(name: str, raw: bytes) -> dict[str, Any]:
    by_number = {field[0]: (key, *field[1:4]) for key, field in TYPES[name].items()}
    result: dict[str, Any] = {}
    for number, value in _fields(raw):
        if number not in by_number:
            continue
        key, kind, shape, _ = by_number[number]
        if shape == "inline":
            result |= _message(kind, value)
        elif shape == "map":
            pair = dict(_fields(value))
            result.setdefault(key, {})[pair.get(1, b"").decode()] = _scalar(kind, pair.get(2, b""))
        elif shape == "list":
            result.setdefault(key, []).append(_scalar(kind, value))
        else:
            result[key] = _scalar(kind, value)
    # Go writes every string it has, empty ones too; JSON omits them, and a defaulting server tells them apart.
    return {key: value for key, value in result.items() if value not in ("", None, {})}


def _scalar(kind: str, value: Any) -> Any:
    match kind:
        case "string":
            return value.decode()
        case "bytes":
            return base64.b64encode(value).decode()
        case "bool":
            return bool(value)
        case "int32" | "int64" | "uint32":
            value = value or 0
            return value - (1 << 64) if value >= 1 << 63 else value
        case "resource.Quantity":
            return dict(_fields(value)).get(1, b"0").decode()
        case "meta.v1.Time" | "meta.v1.MicroTime":
            return _time(dict(_fields(value)), micro=kind.endswith("MicroTime"))
        case "intstr.IntOrString":
            parts = dict(_fields(value))
            return parts.get(3, b"").decode() if parts.get(1) else _scalar("int32", parts.get(2, 0))
        case "runtime.RawExtension" | "meta.v1.FieldsV1":
            inner = dict(_fields(value)).get(1, b"")
            return orjson.loads(inner) if inner else {}
    return _message(kind, value)


def _time(parts: dict[int, Any], *, micro: bool) -> str | None:
    if not parts.get(1):
        return None
    moment = datetime.fromtimestamp(parts[1], UTC)
    if micro:
        return moment.replace(microsecond=parts.get(2, 0) // 1000).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def _fields(raw: bytes) -> Iterator[tuple[int, Any]]:
    at = 0
    try:
        while at < len(raw):
            tag, at = _varint(raw, at)
            wire = tag & 7
            if wire == 0:
                value, at = _varint(raw, at)
                yield tag >> 3, value
            elif wire == 2:
                size, at = _varint(raw, at)
                if at + size > len(raw):
                    raise IndexError
                yield tag >> 3, raw[at : at + size]
                at += size
            elif wire in (1, 5):
                size = 8 if wire == 1 else 4
                yield tag >> 3, struct.unpack_from("<d" if wire == 1 else "<f", raw, at)[0]
                at += size
            else:
                raise IndexError
    except (IndexError, struct.error):
        raise errors.bad_request("unexpected EOF in a protobuf message") from None


def _varint(raw: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = raw[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
