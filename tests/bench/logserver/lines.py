"""Lines as a training job prints them, stamped as a container runtime stamps them.

A line is `<stamp> seq=<9 digits> t=<ns> <words>`: its number within the container run, when it was written by the
machine's own clock (the stamp may be set back), and 119 bytes in all unless said otherwise.
"""

import random
import time

LINE_BYTES = 119
BLOCK_LINES = 1000
_PLACE, _NUMBER, _TIME = b"@" * 26, b"#" * 6, b"%" * 16  # replaced in a pre-rendered block
_dice = random.Random(11)  # noqa: S311  The same words every time.


def _words(size: int) -> bytes:
    """Text that compresses about as well as real logs do: few words, many numbers."""
    text = ""
    while len(text) < size:
        text += (
            f"step {_dice.randrange(10**6)} loss {_dice.random():.5f} lr {_dice.random() / 100:.2e} "
            f"tokens/s {_dice.randrange(10_000, 99_999)} {_dice.choice(('forward', 'backward', 'sync', 'save'))} "
        )
    return text[:size].encode()


HEAD_BYTES = len(b"2026-01-01T00:00:00.000000000Z seq=000000000 t=1700000000000000000 ") + 1
_tails = [_words(LINE_BYTES - HEAD_BYTES) for _ in range(997)]
_seconds: dict[int, bytes] = {}


def stamp(nanoseconds: int) -> bytes:
    """RFC 3339 in UTC, nine digits, as a runtime writes it."""
    second, fraction = divmod(nanoseconds, 10**9)
    start = _seconds.get(second)
    if start is None:
        _seconds.clear()
        start = _seconds[second] = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second)).encode()
    return b"%s.%09dZ" % (start, fraction)


def render(first: int, count: int, *, step_back: int = 0, size: int = LINE_BYTES, same_stamp: bool = False) -> bytes:
    """`count` lines from number `first` on, written now; `step_back` is how many ns the node's clock lags."""
    now = time.time_ns()
    pad = _words(size - LINE_BYTES) if size > LINE_BYTES else b""
    return b"".join(
        b"%s seq=%09d t=%d %s%s\n"
        % (stamp(now - step_back + (0 if same_stamp else at)), first + at, now, _tails[(first + at) % 997], pad)
        for at in range(count)
    )


def _template() -> bytes:
    return b"".join(
        b"%s%03dZ seq=%s%03d t=%s%03d %s\n" % (_PLACE, at, _NUMBER, at, _TIME, at, _tails[at % 997])
        for at in range(BLOCK_LINES)
    )


_block = _template()


def render_block(number: int) -> bytes:
    """The 1,000 lines from `number * 1,000` on, a nanosecond apart; a hundred times faster than `render`."""
    now = time.time_ns() // 1000
    made = _block.replace(_PLACE, stamp(now * 1000)[:26]).replace(_TIME, b"%016d" % now)
    return made.replace(_NUMBER, b"%06d" % number)
