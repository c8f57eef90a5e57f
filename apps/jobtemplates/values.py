"""The judge of one value: strict types, human words. Nothing is guessed: "3" is not a number."""

import math
import posixpath
import re
from collections.abc import Mapping
from typing import Any

from django.utils.translation import gettext as _

from .documents import text_problem
from .params import Kind, kind_of

MAX_STRING = 64 * 1024  # bytes
MAX_CODE = 512 * 1024  # bytes; a ConfigMap holds 1 MiB
MAX_ITEMS = 200
MAX_MATCHED = 1000  # characters a pattern is tried on
MAX_MATCHED_ITEM = 200
MAX_INTEGER = 2**53  # what every JSON reader keeps exactly

ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
OURS = "CUBE_"  # environment variables Cube itself sets
_SECRET = re.compile(r"(?P<secret>[a-z0-9](?:[a-z0-9-]{0,48}[a-z0-9])?)/(?P<key>[A-Za-z0-9_.-]{1,253})")
# The grammar of OCI references: https://github.com/distribution/reference
_LABEL = r"[A-Za-z0-9][A-Za-z0-9-]{0,62}"
_HOST = rf"(?:{_LABEL}(?:\.{_LABEL}){{0,20}}|\[[A-Fa-f0-9:]{{2,45}}\])(?::[0-9]{{1,5}})?"
_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_IMAGE = re.compile(
    rf"(?P<name>(?:{_HOST}/)?{_PART}(?:/{_PART})*)(?::(?P<tag>[\w][\w.-]{{0,127}}))?"
    r"(?:@(?P<digest>[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,128}))?",
    re.ASCII,
)
MAX_IMAGE = 255


class Refused(Exception):
    """What is wrong, by place inside the value: `""` for the whole, `"[2]"` for an item."""

    def __init__(self, problems: str | dict[str, str]) -> None:
        self.problems = problems if isinstance(problems, dict) else {"": problems}
        super().__init__(str(self.problems))


def clean_value(spec: Mapping[str, Any], value: Any, choices: list[Any]) -> Any:
    """The value as it will be stored. Raises `Refused`. `choices` are those that hold now."""
    kind = kind_of(spec)
    match kind:
        case Kind.LIST:
            return _clean_list(spec, value)
        case Kind.BOOLEAN:
            return _clean_boolean(value)
        case Kind.INTEGER | Kind.NUMBER:
            return _clean_number(spec, value)
        case Kind.ENUM | Kind.CASCADE:
            return _clean_choice(spec, value, choices)
    return _clean_text(spec, value, kind)


def _clean_boolean(value: Any) -> bool:
    if not isinstance(value, bool):
        raise Refused(_("Must be true or false."))
    return value


def _clean_number(spec: Mapping[str, Any], value: Any) -> int | float:
    whole = spec["type"] == "integer"
    if isinstance(value, bool) or not isinstance(value, int if whole else int | float):
        raise Refused(_("Must be a whole number.") if whole else _("Must be a number."))
    if not math.isfinite(value) or (isinstance(value, int) and abs(value) > MAX_INTEGER):
        raise Refused(_("This number is too large."))
    if "minimum" in spec and value < spec["minimum"]:
        raise Refused(_("Must be at least %(limit)s.") % {"limit": spec["minimum"]})
    if "maximum" in spec and value > spec["maximum"]:
        raise Refused(_("Must be at most %(limit)s.") % {"limit": spec["maximum"]})
    return value


def _clean_choice(spec: Mapping[str, Any], value: Any, choices: list[Any]) -> Any:
    wanted = int if spec["type"] == "integer" else str
    if isinstance(value, bool) or not isinstance(value, wanted) or value not in choices:
        raise Refused(_("Choose one of: %(choices)s.") % {"choices": ", ".join(map(str, choices)) or "-"})
    return value


def _clean_list(spec: Mapping[str, Any], value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise Refused(_("Must be a list."))
    most = min(spec.get("maxItems", MAX_ITEMS), MAX_ITEMS)
    if len(value) > most:
        raise Refused(_("At most %(count)d entries.") % {"count": most})
    if len(value) < spec.get("minItems", 0):
        raise Refused(_("At least %(count)d entries.") % {"count": spec["minItems"]})
    cleaned, problems = [], {}
    for index, item in enumerate(value):
        try:
            cleaned.append(clean_value(spec["items"], item, spec["items"].get("enum", [])))
        except Refused as refusal:
            problems[f"[{index}]"] = refusal.problems[""]
    if problems:
        raise Refused(problems)
    if kind_of(spec["items"]) in (Kind.ENV, Kind.SECRET_ENV):
        _refuse_twice([entry.partition("=")[0] for entry in cleaned])
    elif spec.get("uniqueItems"):
        _refuse_twice(cleaned)
    return cleaned


def _refuse_twice(entries: list[Any]) -> None:
    first: dict[Any, int] = {}
    for index, entry in enumerate(entries):
        if first.setdefault(entry, index) != index:
            raise Refused({f"[{index}]": _("%(entry)s is given twice.") % {"entry": str(entry)[:80]}})


def _clean_text(spec: Mapping[str, Any], value: Any, kind: Kind) -> str:
    if kind is Kind.SECRET:
        value = _joined_secret(value)
    if not isinstance(value, str):
        raise Refused(_("Must be text."))
    most = MAX_CODE if kind is Kind.CODE else MAX_STRING
    # Characters first: encoding a text of many megabytes only to measure it would be work for an attacker.
    if len(value) <= most and (problem := text_problem(value)):
        raise Refused(problem)
    if len(value) > most or len(value.encode()) > most:
        raise Refused(_("Too long: at most %(size)d KiB.") % {"size": most // 1024})
    value = FORMAT.get(kind, str)(value)
    _check_length(spec, value)
    _check_pattern(spec, value)
    return value


def _check_length(spec: Mapping[str, Any], value: str) -> None:
    if len(value) > spec.get("maxLength", MAX_CODE):
        raise Refused(_("At most %(count)d characters.") % {"count": spec["maxLength"]})
    if len(value) < spec.get("minLength", 0):
        raise Refused(_("At least %(count)d characters.") % {"count": spec["minLength"]})


def _check_pattern(spec: Mapping[str, Any], value: str) -> None:
    if "pattern" not in spec:
        return
    longest = spec.get("maxLength", MAX_MATCHED)
    if len(value) > longest:
        raise Refused(_("At most %(count)d characters.") % {"count": longest})
    if not re.fullmatch(spec["pattern"], value):
        raise Refused(_("Does not have the expected form (%(pattern)s).") % {"pattern": spec["pattern"]})


def clean_image(value: str) -> str:
    if any(character.isspace() for character in value):
        raise Refused(
            _("An image name has no spaces: %(example)s") % {"example": "registry.example.com/team/train:1.2"}
        )
    match = _IMAGE.fullmatch(value) if len(value) <= 600 else None
    if match is None or len(match["name"]) > MAX_IMAGE:
        raise Refused(
            _("Not an image name. Write [registry/]name[:tag] in lower case, as in %(example)s")
            % {"example": "python:3.11-slim"}
        )
    return value


def clean_path(value: str) -> str:
    """A path inside the workspace, normalised. Whoever opens it must still not follow links out of it."""
    if any(ord(character) < 32 or ord(character) == 127 for character in value):
        raise Refused(_("A path has no control characters."))
    if value.startswith(("/", "~")) or "\\" in value:
        raise Refused(_("Give a path inside the workspace, as in train/main.py"))
    if ".." in value.split("/"):
        raise Refused(_("A path may not leave the workspace: '..' is not allowed."))
    path = posixpath.normpath(value)
    if path == "." or value.endswith("/"):
        raise Refused(_("This names a folder; give the path of a file."))
    if len(path) > 1024 or any(len(part.encode()) > 255 for part in path.split("/")):
        raise Refused(_("This path is too long."))
    return path


def _joined_secret(value: Any) -> Any:
    """Both spellings are accepted, `{"secret": "name", "key": "KEY"}` and `"name/KEY"`; the second is kept."""
    if isinstance(value, dict):
        if set(value) != {"secret", "key"} or not all(isinstance(part, str) for part in value.values()):
            raise Refused(_("Name a secret and one of its keys: %(example)s") % {"example": "name/KEY"})
        return f"{value['secret']}/{value['key']}"
    return value


def clean_secret(value: str) -> str:
    if not _SECRET.fullmatch(value):
        raise Refused(_("Name a secret and one of its keys: %(example)s") % {"example": "name/KEY"})
    return value


def _env_name(entry: str, example: str) -> tuple[str, str]:
    name, equals, rest = entry.partition("=")
    if not equals or not ENV_NAME.fullmatch(name):
        raise Refused(
            _("Write %(example)s; a name has letters, digits and '_' and does not begin with a digit.")
            % {"example": example}
        )
    if name.startswith(OURS):
        raise Refused(_("Names that begin with %(prefix)s belong to Cube.") % {"prefix": OURS})
    return name, rest


def clean_env(value: str) -> str:
    _env_name(value, "NAME=value")
    return value


def clean_secret_env(value: str) -> str:
    _name, reference = _env_name(value, "NAME=secret/KEY")
    clean_secret(reference)
    return value


FORMAT = {
    Kind.IMAGE: clean_image,
    Kind.PATH: clean_path,
    Kind.SECRET: clean_secret,
    Kind.ENV: clean_env,
    Kind.SECRET_ENV: clean_secret_env,
}
