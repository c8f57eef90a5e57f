"""The objects themselves: named safely, written once, read in ranges, deleted when nothing names them any more."""

import os
import re
import secrets
import time
from contextlib import suppress
from typing import Any
from uuid import UUID

from django.conf import settings
from django.core.files.base import ContentFile
from django.core.files.storage import FileSystemStorage, Storage, storages

UUID_TEXT = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
RANDOM = r"[0-9a-f]{16}"
NAME = re.compile(rf"packs/\d{{10}}/{RANDOM}|\d{{1,19}}/{UUID_TEXT}/\d{{1,19}}-\d{{1,19}}-{RANDOM}")


class UnsafeName(ValueError):
    """A name that is none of ours; nothing was touched."""


class LogFileStorage(FileSystemStorage):
    """Files under CUBE_LOG_DIR that are on the disk when `save` returns, since a row will say so."""

    @property
    def base_location(self) -> str:
        return str(settings.CUBE_LOG_DIR)

    @property
    def location(self) -> str:
        return os.path.abspath(self.base_location)

    def read_range(self, name: str, offset: int, size: int) -> bytes:
        with open(self.path(name), "rb", buffering=0) as file:
            return os.pread(file.fileno(), size, offset)

    def delete(self, name: str) -> None:
        """Delete a file, and its folder when that was the last one."""
        super().delete(name)
        with suppress(OSError):
            os.rmdir(os.path.dirname(self.path(name)))

    def _save(self, name: str, content: Any) -> str:
        saved = super()._save(name, content)
        for path in (self.path(saved), os.path.dirname(self.path(saved))):
            descriptor = os.open(path, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        return saved


def storage() -> Storage:
    return storages["logs"]


def pack_name() -> str:
    """A new pack's name; its hour lets a sweep find what no row ever named."""
    return f"packs/{time.strftime('%Y%m%d%H', time.gmtime())}/{secrets.token_hex(8)}"


def segment_name(*, project_id: int, job_uid: UUID, stream: int, first: int) -> str:
    return f"{project_id}/{job_uid}/{stream}-{first}-{secrets.token_hex(8)}"


def checked(name: str) -> str:
    if not NAME.fullmatch(name):
        raise UnsafeName(name[:200])
    return name


def write(name: str, data: bytes) -> None:
    """Durable when it returns. Raises OSError and what the storage raises; a half-written object is never named."""
    saved = storage().save(checked(name), ContentFile(data))
    if saved != name:
        storage().delete(saved)
        raise OSError(f"the log store already holds {name}")


def read(name: str, offset: int, size: int) -> bytes:
    """`size` bytes from `offset` on. Raises FileNotFoundError."""
    kept = storage()
    if read_range := getattr(kept, "read_range", None):
        return bytes(read_range(checked(name), offset, size))
    with kept.open(checked(name)) as file:
        file.seek(offset)
        return bytes(file.read(size))


def remove(name: str) -> None:
    """Removing what is gone is fine."""
    storage().delete(checked(name))


def old_packs(before: str) -> list[str]:
    """Names of the packs written before the hour `before` (YYYYMMDDHH)."""
    try:
        hours, _ = storage().listdir("packs")
    except FileNotFoundError:
        return []
    old = sorted(hour for hour in hours if hour.isdigit() and hour < before)
    return [f"packs/{hour}/{name}" for hour in old for name in storage().listdir(f"packs/{hour}")[1]]
