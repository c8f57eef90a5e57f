"""The forms in which programs print a secret: as it is, in base64, in a URL, inside JSON. Pure."""

import base64
import json
from collections.abc import Iterator
from urllib.parse import quote, quote_plus

SHORTEST = 6  # characters; masking shorter ones would eat words
SHORTEST_CORE = 8  # of a piece of base64


def forms_of(value: str) -> Iterator[bytes]:
    """Each form at least `SHORTEST` characters long and without a line's end, so that it fits in one line of a log."""
    found = {value, json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1]}
    found |= {quote(value), quote(value, safe=""), quote_plus(value)}
    if len(value) >= SHORTEST:
        found |= set(_base64(value.encode()))
    for form in found:
        for line in form.splitlines():
            if len(text := line.strip()) >= SHORTEST:
                yield text.encode()


def _base64(value: bytes) -> Iterator[str]:
    """Whole, and its inner part at each of the three places in a group: what `user:value` encodes to holds one of them.

    `base64` wraps after 76 characters and PEM after 64, so long ones are also looked for in such lines.
    """
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        whole = encode(value).decode()
        yield whole
        yield whole.rstrip("=")
        for width in (64, 76):
            if len(whole) > width:
                yield "\n".join(whole[at : at + width] for at in range(0, len(whole), width))
        for before in range(3):
            core = encode(b"\0" * before + value).decode().rstrip("=")
            skipped = (0, 2, 3)[before]
            tail = (len(value) + before) % 3  # The last character of an open group depends on what follows.
            core = core[skipped : -1 if tail else None]
            if len(core) >= SHORTEST_CORE:
                yield core
