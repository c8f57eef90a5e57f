"""What must not be read in a log becomes `***` before a line is stored. There is no way back: nothing else is kept.

Looked for are the values of project secrets that Cube gave a job (`secretforms`), patterns an admin set, and blocks
of private keys. All are RE2 expressions (https://github.com/google/re2/wiki/Syntax): a whole chunk of records is
scanned at once in time linear in its size, whatever an expression looks like.
"""

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Any

import re2

from apps.jobs.models import Job
from apps.jobtemplates import rendering
from apps.projects.choices import SecretKind
from apps.projects.models import ProjectSecret

from .expressions import compiled
from .lines import HEAD, MASK
from .models import MaskingPattern
from .secretforms import forms_of

KEY_BORDER = b" PRIVATE KEY-----"
KEY_LINE = re.compile(rb"[A-Za-z0-9+/=]{4,100}\s*")
KEPT_SETS = 64  # compiled sets of admin patterns: one, while they are being changed two


class Masker:
    """Applies to records in stored form, `<30 bytes of time><mark><text>\\n`, any whole number of them.

    Times and marks are never touched, no match crosses a line, and the number of lines stays. Two passes: a secret
    must not survive because a pattern began before it.
    """

    def __init__(self, values: Iterable[bytes] = (), patterns: tuple[str, ...] = ()) -> None:
        self._passes = [*_literals(sorted(set(values), key=lambda value: (-len(value), value))), *_compiled(patterns)]

    def apply(self, body: bytes) -> bytes:
        """The same records with what must not be read replaced; the very same object when there is nothing."""
        for expression in self._passes:
            body = _replaced(expression, body)
        return _without_keys(body) if KEY_BORDER in body else body


def masker_for(job: Job) -> Masker:
    """What to hide in the logs of `job`, as the database knows it now: ask again for each stream.

    Raises Undecryptable when a secret's key is lost: a log whose secrets are unknown must not be stored unmasked.
    """
    patterns = tuple(MaskingPattern.objects.filter(is_enabled=True).order_by("pk").values_list("expression", flat=True))
    return Masker(values_given_to(job), patterns)


def values_given_to(job: Job) -> Iterator[bytes]:
    """Every form of every value: the keys its template version refers to, and the passwords of image registries."""
    references = rendering.render(job.template_version.body, job.params).secret_env.values()
    wanted = {(reference.secret, reference.key) for reference in references}
    names = {secret for secret, _ in wanted}
    for secret in ProjectSecret.objects.filter(project_id=job.project_id):
        if secret.kind == SecretKind.REGISTRY:
            yield from forms_of(secret.data.get("password", ""))
            yield from forms_of(f"{secret.data.get('username', '')}:{secret.data.get('password', '')}")
        elif secret.name in names:
            for key, value in secret.data.items():
                if (secret.name, key) in wanted:
                    yield from forms_of(value)


# -- compiling -------------------------------------------------------------------------------------------------------
def _literals(values: list[bytes]) -> Iterator[Any]:
    """One expression for all of them, the longest first; several where one would grow too large."""
    if not values:
        return
    try:
        yield compiled("|".join(re2.escape(value.decode()) for value in values), captures=False)
    except re2.error:
        if len(values) == 1:
            raise
        middle = len(values) // 2
        yield from _literals(values[:middle])
        yield from _literals(values[middle:])


@lru_cache(maxsize=KEPT_SETS)
def _compiled(patterns: tuple[str, ...]) -> list[Any]:
    """One expression for all patterns; one each when together they grow too large."""
    if not patterns:
        return []
    try:
        return [compiled("|".join(f"(?m:{pattern})" for pattern in patterns))]
    except re2.error:
        return [compiled(f"(?m:{pattern})") for pattern in patterns]


# -- replacing -------------------------------------------------------------------------------------------------------
def _replaced(expression: Any, body: bytes) -> bytes:
    """Scans all records at once, and looks at single ones only where it found something."""
    pieces, done, at = [], 0, 0
    while (match := expression.search(body, at)) is not None:
        start, end = _span(match)
        line = body.rfind(b"\n", 0, match.start()) + 1
        if match.start() < line + HEAD:  # Partly in a time: what the text alone holds is another question.
            close = body.find(b"\n", line)
            close = len(body) if close < 0 else close
            pieces += body[done : line + HEAD], _in_text(expression, body[line + HEAD : close])
            done = at = close
        else:
            pieces += body[done:start], MASK
            done = at = end
    if not pieces:
        return body
    pieces.append(body[done:])
    return b"".join(pieces)


def _in_text(expression: Any, text: bytes) -> bytes:
    pieces, done = [], 0
    while (match := expression.search(text, done)) is not None:
        start, end = _span(match)
        pieces += text[done:start], MASK
        done = end
    return b"".join([*pieces, text[done:]])


def _span(match: Any) -> tuple[int, int]:
    """What is to be hidden: the group of the pattern that matched, when it has one, else all of it."""
    for group in range(1, match.re.groups + 1):
        if match.start(group) >= 0 and match.end(group) > match.start(group):
            return int(match.start(group)), int(match.end(group))
    return int(match.start()), int(match.end())


# -- private keys ----------------------------------------------------------------------------------------------------
def _without_keys(body: bytes) -> bytes:
    """Lines of base64 after a BEGIN and before an END of a private key, also when the other border is elsewhere."""
    lines = body.split(b"\n")
    hidden: set[int] = set()
    for number, line in enumerate(lines):
        if KEY_BORDER not in line:
            continue
        if b"-----BEGIN " in line[HEAD:]:
            hidden |= _run(lines, number, 1)
        if b"-----END " in line[HEAD:]:
            hidden |= _run(lines, number, -1)
    for number in hidden:
        lines[number] = lines[number][:HEAD] + MASK
    return b"\n".join(lines)


def _run(lines: list[bytes], border: int, step: int) -> set[int]:
    """Lines next to a border, for as long as they can be part of a key. Its own headers (`Proc-Type: …`) are passed."""
    found: set[int] = set()
    at = border + step
    while 0 <= at < len(lines) and KEY_BORDER not in lines[at]:
        text = lines[at][HEAD:]
        if KEY_LINE.fullmatch(text):
            found.add(at)
        elif text.strip() and b": " not in text and text.strip() != MASK:
            break
        at += step
    return found
