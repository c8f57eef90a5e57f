"""Which frames can hold a text at all: a bit for every run of four bytes, lower-cased, that occurs in a frame.

A text of n bytes is there only if its n-3 runs all have their bit. Half a megabyte of log sets about a quarter of 2^17
bits, so a rare word of eight letters is looked for in one frame of a thousand that does not hold it.
"""

import functools
from collections.abc import Sequence

import numpy as np

GRAM = 4
BITS = 1 << 17
_MIX = 2654435761  # Knuth's multiplicative hash, 2^32 / golden ratio
_TO_LOWER = bytes(range(65)) + bytes(range(97, 123)) + bytes(range(91, 256))


def filter_of(body: bytes) -> bytes:
    """BITS / 8 bytes."""
    bits = np.zeros(BITS, dtype=np.uint8)
    bits[_hashes(body)] = 1
    return np.packbits(bits).tobytes()


def grams_of(text: bytes) -> "np.ndarray":
    """The bits a text needs; none for a text that is too short to tell."""
    return np.unique(_hashes(text))


def may_hold(filter_: bytes, needed: "Sequence[np.ndarray]") -> bool:
    """Whether every text of `needed` may be in the frame of `filter_`."""
    bits = np.frombuffer(filter_, dtype=np.uint8)
    return all(bool(np.all(bits[grams >> 3] & (128 >> (grams & 7)))) for grams in needed)


@functools.cache
def _shift() -> int:
    return 32 - (BITS.bit_length() - 1)


def _hashes(text: bytes) -> "np.ndarray":
    data = np.frombuffer(text.translate(_TO_LOWER), dtype=np.uint8).astype(np.uint32)
    if len(data) < GRAM:
        return np.zeros(0, dtype=np.int64)
    grams = data[:-3] | data[1:-2] << 8 | data[2:-1] << 16 | data[3:] << 24
    return ((grams * np.uint32(_MIX & 0xFFFFFFFF)) >> np.uint32(_shift())).astype(np.int64)
