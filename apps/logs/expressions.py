"""Regular expressions of admins: what is accepted, and how it is compiled. RE2, so that none can be slow."""

import re
from typing import Any

import re2
from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _

LONGEST = 500
MEMORY = 64 * 1024 * 1024  # bytes one compiled expression may take
ANCHOR = re.compile(r"\\A|\\Q|\^")
IN_CLASS_OR_ESCAPED = re.compile(r"\\[^AQ]|\[\^?\]?(?:\\.|\[:\^?\w+:\]|[^\]\\])*\]", re.DOTALL)


def compiled(expression: str, *, captures: bool = True) -> Any:
    """The expression as it is used on stored records: it never matches a line's end. Raises `re2.error`."""
    options = re2.Options()
    options.max_mem, options.log_errors = MEMORY, False
    options.never_nl, options.never_capture = True, not captures
    return re2.compile(expression, options)


def check_expression(expression: str) -> None:
    """Raises ValidationError for what could not be used, or would hide every line."""
    try:
        found = compiled(f"(?m:{expression})")
    except re2.error as error:
        raise ValidationError(_("RE2 cannot read this: %(error)s") % {"error": words_of(error)}) from None
    if found.search(b"") is not None:
        raise ValidationError(_("This matches where there is nothing, so it would hide every line."))
    if found.groups > 1:
        raise ValidationError(_("Use at most one group: what it holds is hidden. (?:…) groups without hiding."))
    if ANCHOR.search(IN_CLASS_OR_ESCAPED.sub("", expression)):
        raise ValidationError(_("It is looked for anywhere in a line: ^, \\A and \\Q are not supported."))


def words_of(error: Exception) -> str:
    """What RE2 says of an expression, which comes as bytes."""
    raw = error.args[0] if error.args else ""
    return raw.decode("utf-8", "replace") if isinstance(raw, bytes) else str(raw)
