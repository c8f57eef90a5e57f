"""From cleaned params to a `Workload`: a body is JSON with a few declarative words. No code, no template engine.

    {"$param": "x"}                              the value of a parameter (nothing when it was not given)
    {"$format": "--lr={x}"}                      text with parameters in it; {{ and }} are braces
    {"$shell": "x"}                              quoted for a POSIX shell; a list becomes quoted words
    {"$join": ["exec ", {"$shell": "x"}]}        texts put together
    {"$if": {"param": "x", "equals": 1}, "then": …, "else": …}      or {"param": "x", "set": true}
    {"$splice": {"$param": "args"}}              inside a list: its entries, or none

The keys of a body are the fields of `Workload`. `env` and `secret_env` are objects, or lists whose entries are objects
and nodes that give NAME=value (NAME=secret/KEY) lines; later ones win. What yields nothing is left out.
"""

import re
import shlex
from collections.abc import Iterator, Mapping
from typing import Any

from django.utils.translation import gettext as _

from apps.core.errors import InvalidInput

from .documents import problems_in
from .params import Kind, Param, params_of
from .values import ENV_NAME, Refused, clean_secret
from .workload import SecretRef, Workload

MAX_WORKERS = 64
MAX_FILES_BYTES = 900 * 1024  # a ConfigMap holds 1 MiB
MAX_WORDS = 1000
FILE_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,199}")
_FORMAT_PART = re.compile(r"\{\{|\}\}|\{([a-z][a-z0-9_]*)\}|[{}]")
_INTERPRETERS = ("python", "sh")

_TEXT = ("image", "working_dir")
_WORDS = ("command", "args")
_NUMBERS = {"workers": (1, MAX_WORKERS), "port": (0, 65535)}
_ENVIRONMENTS = ("env", "secret_env")
_KEYS = {*_TEXT, *_WORDS, *_NUMBERS, *_ENVIRONMENTS, "files", "interpreter"}
_NODES = {
    "$param": {"$param"},
    "$format": {"$format"},
    "$shell": {"$shell"},
    "$join": {"$join"},
    "$splice": {"$splice"},
    "$if": {"$if", "then", "else"},
}


def render(body: Mapping[str, Any], params: Mapping[str, Any]) -> Workload:
    """The workload of a checked body and cleaned params. Pure; the same input gives the same output.

    Raises `InvalidInput` when the params lead to something no cluster would take: no image, files too large.
    """
    workload = Workload(
        image=_text(evaluate(body["image"], params)) or "",
        command=_words(body.get("command", []), params),
        args=_words(body.get("args", []), params),
        env=_environment(body.get("env", {}), params),
        secret_env={
            name: SecretRef(*reference.split("/", 1))
            for name, reference in _environment(body.get("secret_env", {}), params).items()
        },
        files=_environment(body.get("files", {}), params),
        workers=_number(body.get("workers"), params, 1),
        port=_number(body.get("port"), params, 0),
        working_dir=_text(evaluate(body.get("working_dir", ""), params)) or "",
        interpreter=body.get("interpreter", ""),
    )
    _check(workload)
    return workload


def _check(workload: Workload) -> None:
    if not workload.image:
        raise InvalidInput({"params": _("These parameters name no image.")})
    for name, (least, most) in _NUMBERS.items():
        if not least <= getattr(workload, name) <= most:
            raise InvalidInput(
                {"params": _("%(name)s must be %(least)d to %(most)d.") % {"name": name, "least": least, "most": most}}
            )
    if sum(len(text.encode()) for text in workload.files.values()) > MAX_FILES_BYTES:
        raise InvalidInput(
            {"params": _("The files are too large: at most %(size)d KiB.") % {"size": MAX_FILES_BYTES // 1024}}
        )
    if len(workload.command) + len(workload.args) > MAX_WORDS:
        raise InvalidInput({"params": _("Too many arguments: at most %(count)d.") % {"count": MAX_WORDS}})


def _words(nodes: list[Any], params: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(word for value in evaluate(nodes, params) if (word := _text(value)) is not None)


def _environment(node: Any, params: Mapping[str, Any]) -> dict[str, str]:
    merged: dict[str, str] = {}
    for part in node if isinstance(node, list) else [node]:
        if isinstance(part, dict) and not _word_of(part):
            values = {name: _text(evaluate(value, params)) for name, value in part.items()}
            merged |= {name: value for name, value in values.items() if value is not None}
        else:
            merged |= dict(line.split("=", 1) for line in evaluate(part, params) or [])
    return merged


def _number(node: Any, params: Mapping[str, Any], default: int) -> int:
    value = evaluate(node, params)
    return default if value is None else int(value)


def evaluate(node: Any, params: Mapping[str, Any]) -> Any:
    """The value of a node: text, number, list, or None for nothing."""
    if isinstance(node, list):
        return [value for item in node for value in _entries(item, params)]
    if not isinstance(node, dict):
        return node
    match node:
        case {"$param": name}:
            return params.get(name)
        case {"$format": text}:
            return _formatted(text, params)
        case {"$shell": name}:
            value = params.get(name)
            return shlex.join(map(_as_text, value)) if isinstance(value, list) else shlex.quote(_as_text(value))
        case {"$join": parts}:
            return "".join(map(_as_text, evaluate(parts, params)))
        case {"$if": condition}:
            return evaluate(node.get("then" if _holds(condition, params) else "else"), params)
    raise ValueError(f"not a node: {sorted(node)}")


def _entries(item: Any, params: Mapping[str, Any]) -> list[Any]:
    if isinstance(item, dict) and "$splice" in item:
        return evaluate(item["$splice"], params) or []
    value = evaluate(item, params)
    return [] if value is None else [value]


def _holds(condition: Mapping[str, Any], params: Mapping[str, Any]) -> bool:
    value = params.get(condition["param"])
    if "set" in condition:
        return (value not in (None, "", [])) is condition["set"]
    return value == condition["equals"] and isinstance(value, bool) == isinstance(condition["equals"], bool)


def _formatted(text: str, params: Mapping[str, Any]) -> str:
    def part(match: re.Match[str]) -> str:
        return _as_text(params.get(match[1])) if match[1] else match[0][0]

    return _FORMAT_PART.sub(part, text)


def _text(value: Any) -> str | None:
    return None if value is None else _as_text(value)


def _as_text(value: Any) -> str:
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
    return str(value)


# -- publishing: is this body one that can be rendered? ---------------------------------------------------------------

Problems = Iterator[tuple[str, str]]


def check_body(body: Any, schema: Mapping[str, Any], *, at: str = "body") -> None:
    """Raise `InvalidInput` naming every bad place (`body.command[2].$param`). `schema` has passed `check_schema`."""
    problems = dict(problems_in(body, at))
    if not problems:
        problems = dict(_Checker({param.name: param for param in params_of(schema)}).body(body, at))
    if problems:
        raise InvalidInput(problems)


def _word_of(node: Any) -> str:
    return next((key for key in node if key.startswith("$")), "") if isinstance(node, dict) else ""


class _Checker:
    """Walks a body the way `render` will, with kinds in place of values."""

    def __init__(self, params: Mapping[str, Param]) -> None:
        self.params = params

    def body(self, body: Any, at: str) -> Problems:
        if not isinstance(body, dict):
            yield at, _("Must be an object.")
            return
        for key in body.keys() - _KEYS:
            yield f"{at}.{key}", _("Unknown field. Known: %(known)s.") % {"known": ", ".join(sorted(_KEYS))}
        if "image" not in body:
            yield f"{at}.image", _("This is required.")
        for key in _KEYS & body.keys():
            yield from self._field(key, body[key], f"{at}.{key}")

    def _field(self, key: str, node: Any, at: str) -> Problems:
        if key in _TEXT:
            yield from self.scalar(node, at)
        elif key in _WORDS:
            yield from self.words(node, at)
        elif key in _NUMBERS:
            yield from self._number(key, node, at)
        elif key == "interpreter":
            if node not in _INTERPRETERS:
                yield at, _("Must be one of: %(names)s.") % {"names": ", ".join(_INTERPRETERS)}
        elif key == "files":
            yield from self._named(node, at, FILE_NAME, self.scalar)
        else:
            yield from self._environment(key, node, at)

    def _environment(self, key: str, node: Any, at: str) -> Problems:
        wanted, value = (Kind.ENV, self.scalar) if key == "env" else (Kind.SECRET_ENV, self._secret)
        parts = [(f"{at}[{i}]", part) for i, part in enumerate(node)] if isinstance(node, list) else [(at, node)]
        for place, part in parts:
            if not _word_of(part):
                yield from self._named(part, place, ENV_NAME, value)
            elif self._item_kind(part) is not wanted:
                yield (
                    place,
                    _("Must be a $param that is a list of strings with format %(format)s.") % {"format": wanted.value},
                )

    def _item_kind(self, node: Any) -> Kind | None:
        param = self.params.get(node["$param"]) if set(node) == {"$param"} and isinstance(node["$param"], str) else None
        return Param("", param.spec["items"], False).kind if param and param.kind is Kind.LIST else None

    def _secret(self, node: Any, at: str) -> Problems:
        if isinstance(node, dict) and set(node) == {"$param"}:
            param = self.params.get(str(node["$param"]))
            if param is None or param.kind is not Kind.SECRET:
                yield f"{at}.$param", _("Must name a parameter with format secret.")
        elif isinstance(node, str):
            try:
                clean_secret(node)
            except Refused as refusal:
                yield at, refusal.problems[""]
        else:
            yield at, _("Must be name/KEY or a $param with format secret.")

    def _named(self, node: Any, at: str, name: re.Pattern[str], check: Any) -> Problems:
        if not isinstance(node, dict):
            yield at, _("Must be an object.")
            return
        for key, value in node.items():
            if not name.fullmatch(key):
                yield f"{at}.{key}", _("This name is not allowed here.")
            yield from check(value, f"{at}.{key}")

    def _number(self, key: str, node: Any, at: str) -> Problems:
        least, most = _NUMBERS[key]
        match node:
            case bool():
                yield at, _("Must be a whole number.")
            case int():
                if not least <= node <= most:
                    yield at, _("Must be %(least)d to %(most)d.") % {"least": least, "most": most}
            case {"$param": str(name)} if len(node) == 1:
                param = self.params.get(name)
                if param is None or param.spec["type"] != "integer":
                    yield f"{at}.$param", _("Must name a parameter of type integer.")
            case {"$if": _condition}:
                yield from self._if(node, at, lambda child, place: self._number(key, child, place))
            case _other:
                yield at, _("Must be a whole number.")

    def words(self, node: Any, at: str) -> Problems:
        if not isinstance(node, list):
            yield at, _("Must be a list.")
            return
        for index, item in enumerate(node):
            place = f"{at}[{index}]"
            if _word_of(item) == "$splice":
                yield from self._shape(item, place)
                yield from self._list(item["$splice"], f"{place}.$splice")
            else:
                yield from self.scalar(item, place)

    def _list(self, node: Any, at: str) -> Problems:
        """What may be spliced: a list, a list parameter, or a choice between such."""
        word = _word_of(node)
        if word == "$param":
            yield from self._shape(node, at)
            yield from self._named_param(node["$param"], f"{at}.$param", lists=True)
        elif word == "$if":
            yield from self._if(node, at, self._list)
        else:
            yield from self.words(node, at)

    def scalar(self, node: Any, at: str) -> Problems:
        word = _word_of(node)
        if isinstance(node, str | int | float):
            return
        if word not in _NODES or word == "$splice":
            yield at, _("Must be text or one of: %(words)s.") % {"words": ", ".join(_NODES)}
            return
        yield from self._shape(node, at)
        argument, place = node[word], f"{at}.{word}"
        match word:
            case "$param":
                yield from self._named_param(argument, place, lists=False)
            case "$shell":
                yield from self._named_param(argument, place, lists=None)
            case "$format":
                yield from self._format(argument, place)
            case "$join":
                yield from self.words(argument, place)
            case "$if":
                yield from self._if(node, at, self.scalar)

    def _shape(self, node: Mapping[str, Any], at: str) -> Problems:
        for key in node.keys() - _NODES.get(_word_of(node), set()):
            yield f"{at}.{key}", _("Unknown keyword.")

    def _if(self, node: Mapping[str, Any], at: str, check: Any) -> Problems:
        yield from self._shape(node, at)
        condition = node["$if"]
        if not isinstance(condition, dict) or set(condition) not in ({"param", "equals"}, {"param", "set"}):
            yield f"{at}.$if", _("Must be an object with param and equals, or param and set.")
        else:
            yield from self._named_param(condition["param"], f"{at}.$if.param", lists=None)
            if not isinstance(condition.get("set", True), bool):
                yield f"{at}.$if.set", _("Must be true or false.")
        if "then" not in node:
            yield f"{at}.then", _("This is required.")
        for branch in {"then", "else"} & node.keys():
            yield from check(node[branch], f"{at}.{branch}")

    def _format(self, text: Any, at: str) -> Problems:
        if not isinstance(text, str):
            yield at, _("Must be text.")
            return
        for match in _FORMAT_PART.finditer(text):
            if match[0] in "{}":
                yield at, _("Only {name} of a parameter is allowed in braces; write {{ and }} for braces.")
                return
            if match[1]:
                yield from self._named_param(match[1], at, lists=False)

    def _named_param(self, name: Any, at: str, *, lists: bool | None) -> Problems:
        """`lists`: whether the parameter must be a list (True), must not (False), or may (None)."""
        param = self.params.get(name) if isinstance(name, str) else None
        if param is None:
            yield at, _("There is no parameter %(name)s.") % {"name": str(name)[:80]}
        elif param.kind is Kind.SECRET:
            yield at, _("A secret can only be given through secret_env.")
        elif lists is not None and (param.kind is Kind.LIST) is not lists:
            yield at, _("This must be a list.") if lists else _("A list cannot stand here: use $splice or $shell.")
