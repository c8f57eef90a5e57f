"""The parameter schema of a template: which schemas are accepted, and what params they let through.

A schema is JSON Schema (draft 2020-12): one object with named properties and nothing beside them. Words a form needs
are under `x-ui`, choices that follow another choice under `x-choices`:

    {"type": "object", "additionalProperties": false, "required": ["image"],
     "properties": {
       "image": {"type": "string", "format": "image", "title": "Image", "default": "python:3.11-slim"},
       "device": {"type": "string", "enum": ["cpu", "gpu"], "default": "cpu"},
       "backend": {"type": "string",
                   "x-choices": {"param": "device", "map": {"cpu": ["gloo"], "gpu": ["nccl", "gloo"]}},
                   "x-ui": {"widget": "cascade", "group": "Network", "advanced": true}}}}

`x-ui`: widget (text textarea code number switch list select cascade file secret), language, placeholder, example
(typed in for somebody who begins; no default), group, advanced, order, labels ({value: words}), show_when ({"param":
value or list of values}: otherwise the parameter does not apply, is not required and may not be given).
"""

import difflib
import re
from collections.abc import Iterator, Mapping
from typing import Any

from django.utils.translation import gettext as _

from apps.core.errors import InvalidInput

from .documents import problems_in
from .params import CHOICES, FORMATS, UI, WIDGETS, Kind, Param, in_order_of_need, kind_of, params_of
from .patterns import pattern_problem
from .values import MAX_ITEMS, MAX_MATCHED, MAX_MATCHED_ITEM, Refused, clean_value

DRAFT = "https://json-schema.org/draft/2020-12/schema"
MAX_PARAMS = 60
MAX_CHOICES = 200
NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")
EMPTY: tuple[Any, ...] = ("", [])

Problems = Iterator[tuple[str, str]]
_TOP = {"$schema", "type", "title", "description", "properties", "required", "additionalProperties"}
_ANY_TYPE = {"type", "title", "description", "default", UI}
_OF_TYPE = {
    "string": {"minLength", "maxLength", "pattern", "format", "enum", CHOICES},
    "integer": {"minimum", "maximum", "enum"},
    "number": {"minimum", "maximum"},
    "boolean": set[str](),
    "array": {"items", "minItems", "maxItems", "uniqueItems"},
}
_ITEM_TYPES = ("string", "integer", "number")
_UI_TYPES: dict[str, type] = {
    "widget": str,
    "language": str,
    "placeholder": str,
    "example": str,
    "group": str,
    "advanced": bool,
    "order": int,
    "labels": dict,
    "show_when": dict,
}


def clean_params(schema: Mapping[str, Any], params: Any, *, at: str = "params") -> dict[str, Any]:
    """The params as they will be stored: defaults filled in, texts normalised, nothing unknown.

    `schema` has passed `check_schema`. Raises `InvalidInput` with every problem at once, by path (`params.env[2]`).
    Cleaning what was cleaned changes nothing.
    """
    if not isinstance(params, dict):
        raise InvalidInput({at: _("Must be an object of parameters.")})
    known = params_of(schema)
    problems = _unknown(params, {param.name for param in known}, at)
    cleaned: dict[str, Any] = {}
    refused = set[str]()
    for param in in_order_of_need(known):
        if param.leans_on & refused:  # Cannot be judged before that is right; a second complaint would only confuse.
            continue
        try:
            _clean_one(param, params, cleaned)
        except Refused as refusal:
            refused.add(param.name)
            problems |= {f"{at}.{param.name}{place}": message for place, message in refusal.problems.items()}
    if problems:
        raise InvalidInput(problems)
    return {param.name: cleaned[param.name] for param in known if param.name in cleaned}


def _unknown(params: Mapping[str, Any], known: set[str], at: str) -> dict[str, str]:
    problems = {}
    for name in params.keys() - known:
        close = difflib.get_close_matches(str(name)[:40], known, n=1)
        hint = _(" Did you mean '%(name)s'?") % {"name": close[0]} if close else ""
        problems[f"{at}.{str(name)[:80]}"] = _("There is no such parameter.") + hint
    return problems


def _clean_one(param: Param, params: Mapping[str, Any], cleaned: dict[str, Any]) -> None:
    """Put the cleaned value of one parameter into `cleaned`, or leave it out when there is none."""
    given = param.name in params
    value = params.get(param.name)
    if not param.applies(cleaned):
        if given and value not in EMPTY and value != param.default:
            raise Refused(_("Does not apply %(condition)s.") % {"condition": condition_text(param)})
        return
    if given and value == "" and param.kind is not Kind.TEXT and "" not in param.spec.get("enum", ()):
        given = False  # an empty image, path or choice is none
    choices = param.choices(cleaned)
    if not given:
        given, value = _default(param, choices)
    if not given or (param.required and value in EMPTY):
        if param.required:
            raise Refused(_("This is required."))
        return
    cleaned[param.name] = clean_value(param.spec, value, choices)


def _default(param: Param, choices: list[Any]) -> tuple[bool, Any]:
    """Whether there is a value to fall back on, and which.

    A cascade has its default where that is a choice, else the first choice under its parent's value.
    """
    if param.kind is not Kind.CASCADE:
        return param.has_default, param.default
    if not choices or not (param.has_default or param.required):
        return False, None
    return True, param.default if param.default in choices else choices[0]


def condition_text(param: Param) -> str:
    """When the parameter does not apply, as the end of a sentence."""
    return _(" and ").join(
        _("unless %(name)s is %(values)s") % {"name": name, "values": _(" or ").join(map(str, values))}
        for name, values in param.conditions.items()
    )


def check_schema(schema: Any, *, at: str = "schema") -> None:
    """Raise `InvalidInput` naming every bad place (`schema.properties.image.pattern`) of a template's schema."""
    for check in (problems_in, _outline_problems, _property_problems, _relation_problems, _default_problems):
        # Each step relies on the one before.
        problems: dict[str, list[str]] = {}
        for place, message in check(schema, at):
            problems.setdefault(place, []).append(message)
        if problems:
            raise InvalidInput(problems)


def _outline_problems(schema: Any, at: str) -> Problems:
    if not isinstance(schema, dict):
        yield at, _("Must be an object.")
        return
    for key in schema.keys() - _TOP:
        yield f"{at}.{key}", _("Unknown keyword.")
    if schema.get("type") != "object":
        yield f"{at}.type", _("Must be 'object'.")
    if schema.get("additionalProperties") is not False:
        yield f"{at}.additionalProperties", _("Must be false: unknown parameters are refused.")
    if schema.get("$schema", DRAFT) != DRAFT:
        yield f"{at}.$schema", _("Must be %(draft)s.") % {"draft": DRAFT}
    for key in ("title", "description"):
        if not isinstance(schema.get(key, ""), str):
            yield f"{at}.{key}", _("Must be text.")
    properties = schema.get("properties")
    if not isinstance(properties, dict):
        yield f"{at}.properties", _("Must be an object: parameter name to description.")
        return
    if len(properties) > MAX_PARAMS:
        yield f"{at}.properties", _("At most %(count)d parameters.") % {"count": MAX_PARAMS}
    required = schema.get("required", [])
    if not isinstance(required, list):
        yield f"{at}.required", _("Must be a list of parameter names.")
        return
    for index, name in enumerate(required):
        if not isinstance(name, str) or name not in properties or name in required[:index]:
            yield f"{at}.required[{index}]", _("Must name a parameter, each once.")


def _property_problems(schema: Any, at: str) -> Problems:
    for name, spec in schema["properties"].items():
        place = f"{at}.properties.{name}"
        if not NAME.fullmatch(name):
            yield (
                place,
                _("Use lower-case letters, digits and '_', a letter first, at most 40 characters."),
            )
        yield from _spec_problems(spec, place)


def _spec_problems(spec: Any, at: str, *, item: bool = False) -> Problems:
    if not isinstance(spec, dict):
        yield at, _("Must be an object.")
        return
    types = _ITEM_TYPES if item else tuple(_OF_TYPE)
    kind = spec.get("type")
    if not isinstance(kind, str) or kind not in types:
        yield f"{at}.type", _("Must be one of: %(types)s.") % {"types": ", ".join(types)}
        return
    allowed = _OF_TYPE[kind] | ({"type", "title", "description"} if item else _ANY_TYPE)
    for key in spec.keys() - (allowed - ({CHOICES} if item else set())):
        yield f"{at}.{key}", _("Unknown keyword for type %(type)s.") % {"type": kind}
    for key in ("title", "description"):
        if not isinstance(spec.get(key, ""), str):
            yield f"{at}.{key}", _("Must be text.")
    yield from _limit_problems(spec, at)
    yield from _enum_problems(spec, at)
    yield from _choices_problems(spec, at)
    yield from _text_problems(spec, at, longest=MAX_MATCHED_ITEM if item else MAX_MATCHED)
    if kind == "array":
        yield from _spec_problems(spec.get("items"), f"{at}.items", item=True)
    if not item:
        yield from _ui_problems(spec, at)


def _limit_problems(spec: Mapping[str, Any], at: str) -> Problems:
    def is_number(value: Any) -> bool:
        return isinstance(value, int | float) and not isinstance(value, bool)

    def is_count(value: Any) -> bool:
        return is_number(value) and isinstance(value, int) and value >= 0

    for low, high, fits in (
        ("minimum", "maximum", is_number),
        ("minLength", "maxLength", is_count),
        ("minItems", "maxItems", is_count),
    ):
        wrong = [key for key in (low, high) if key in spec and not fits(spec[key])]
        for key in wrong:
            yield f"{at}.{key}", _("Must be a number, 0 or more for lengths.")
        if not wrong and low in spec and high in spec and spec[low] > spec[high]:
            yield f"{at}.{low}", _("Must not be above %(other)s.") % {"other": high}
    if is_count(spec.get("maxItems", 0)) and spec.get("maxItems", 0) > MAX_ITEMS:
        yield f"{at}.maxItems", _("At most %(count)d.") % {"count": MAX_ITEMS}
    if not isinstance(spec.get("uniqueItems", False), bool):
        yield f"{at}.uniqueItems", _("Must be true or false.")


def _enum_problems(spec: Mapping[str, Any], at: str) -> Problems:
    if "enum" not in spec:
        return
    values, wanted = spec["enum"], int if spec["type"] == "integer" else str
    if not isinstance(values, list) or not 1 <= len(values) <= MAX_CHOICES:
        yield f"{at}.enum", _("Must be a list of 1 to %(count)d choices.") % {"count": MAX_CHOICES}
        return
    for index, value in enumerate(values):
        if not isinstance(value, wanted) or isinstance(value, bool) or value in values[:index]:
            yield f"{at}.enum[{index}]", _("Must be of the parameter's type, each choice once.")


def _choices_problems(spec: Mapping[str, Any], at: str) -> Problems:
    if CHOICES not in spec:
        return
    rule, at = spec[CHOICES], f"{at}.{CHOICES}"
    if not isinstance(rule, dict) or set(rule) != {"param", "map"}:
        yield at, _("Must be an object with param and map.")
        return
    if not isinstance(rule["param"], str):
        yield f"{at}.param", _("Must name another parameter that is a choice.")
    if not isinstance(rule["map"], dict):
        yield f"{at}.map", _("Must be an object: choice of the other parameter to list of choices.")
        return
    for value, choices in rule["map"].items():
        yield from _enum_problems({"type": "string", "enum": choices}, f"{at}.map.{value}")


def _text_problems(spec: Mapping[str, Any], at: str, *, longest: int) -> Problems:
    if "format" in spec and (not isinstance(spec["format"], str) or spec["format"] not in FORMATS):
        yield f"{at}.format", _("Must be one of: %(formats)s.") % {"formats": ", ".join(FORMATS)}
    if sum(key in spec for key in ("format", "enum", CHOICES)) > 1:
        yield at, _("Only one of format, enum and x-choices.")
    if "pattern" not in spec:
        return
    most = spec.get("maxLength", longest)
    if not isinstance(spec["pattern"], str):
        yield f"{at}.pattern", _("Must be text.")
    elif isinstance(most, int) and most > longest:
        yield f"{at}.maxLength", _("With a pattern: at most %(count)d.") % {"count": longest}
    elif problem := pattern_problem(spec["pattern"], longest=longest):
        yield f"{at}.pattern", problem


def _ui_problems(spec: Mapping[str, Any], at: str) -> Problems:
    ui, at = spec.get(UI, {}), f"{at}.{UI}"
    if not isinstance(ui, dict):
        yield at, _("Must be an object.")
        return
    for key, value in ui.items():
        if key not in _UI_TYPES:
            yield f"{at}.{key}", _("Unknown hint.")
        elif not isinstance(value, _UI_TYPES[key]) or (_UI_TYPES[key] is int and isinstance(value, bool)):
            yield f"{at}.{key}", _("Must be of type %(type)s.") % {"type": _UI_TYPES[key].__name__}
    for value, words in ui.get("labels", {}).items() if isinstance(ui.get("labels"), dict) else ():
        if not isinstance(words, str):
            yield f"{at}.labels.{value}", _("Must be text.")
    widget = ui.get("widget")
    if not isinstance(widget, str) or not isinstance(spec.get("format", ""), str):
        return
    kind = kind_of(spec)
    if widget not in WIDGETS[kind]:
        yield f"{at}.widget", _("Must be one of: %(widgets)s.") % {"widgets": ", ".join(sorted(WIDGETS[kind]))}


def _relation_problems(schema: Any, at: str) -> Problems:
    params = {param.name: param for param in params_of(schema)}
    for param in params.values():
        place = f"{at}.properties.{param.name}"
        for other in param.conditions:
            if other not in params or other == param.name:
                yield f"{place}.{UI}.show_when.{other}", _("There is no such parameter.")
        if CHOICES in param.spec:
            yield from _cascade_problems(param, params, f"{place}.{CHOICES}")
    if any(not param.leans_on <= params.keys() for param in params.values()):
        return  # said above
    reached = {param.name for param in in_order_of_need(params.values())}
    for name in params.keys() - reached:
        yield f"{at}.properties.{name}", _("Parameters depend on each other in a ring.")


def _cascade_problems(param: Param, params: Mapping[str, Param], at: str) -> Problems:
    rule = param.spec[CHOICES]
    parent = params.get(rule["param"])
    if parent is None or parent.name == param.name or not {"enum", CHOICES} & parent.spec.keys():
        yield f"{at}.param", _("Must name another parameter that is a choice.")
        return
    if parent.spec["type"] != "string":
        yield f"{at}.param", _("Must name a choice of texts, not of numbers.")
        return
    possible = _all_choices(parent)
    for value in rule["map"].keys() - possible:
        yield f"{at}.map.{value}", _("%(param)s has no such choice.") % {"param": parent.name}
    for value in possible - rule["map"].keys():
        yield f"{at}.map", _("Says nothing for %(value)s.") % {"value": value}


def _all_choices(param: Param) -> set[str]:
    if param.kind is Kind.CASCADE:
        return {choice for choices in param.spec[CHOICES]["map"].values() for choice in choices}
    return set(map(str, param.spec["enum"]))


def _default_problems(schema: Any, at: str) -> Problems:
    """A default must be acceptable under the other defaults; so must the values `show_when` speaks of."""
    values = {param.name: param.default for param in params_of(schema) if param.has_default}
    params = {param.name: param for param in params_of(schema)}
    for param in params.values():
        place = f"{at}.properties.{param.name}"
        if param.has_default:
            yield from _value_problems(param, param.default, _choices_for_default(param, values), f"{place}.default")
        for other, wanted in param.conditions.items():
            for value in wanted:
                choices = list(_all_choices(params[other])) if params[other].kind is Kind.CASCADE else None
                possible = params[other].choices(values) if choices is None else choices
                yield from _value_problems(params[other], value, possible, f"{place}.{UI}.show_when.{other}")


def _choices_for_default(param: Param, values: Mapping[str, Any]) -> list[Any]:
    if param.kind is Kind.CASCADE and param.spec[CHOICES]["param"] not in values:
        return list(_all_choices(param))
    return param.choices(values)


def _value_problems(param: Param, value: Any, choices: list[Any], at: str) -> Problems:
    try:
        cleaned = clean_value(param.spec, value, choices)
    except Refused as refusal:
        for place, message in refusal.problems.items():
            yield f"{at}{place}", message
    else:
        if cleaned != value:
            yield at, _("Write it as %(value)s.") % {"value": cleaned}
