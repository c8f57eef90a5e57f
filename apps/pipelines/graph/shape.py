"""The shape of a graph's document: which fields there are, of what kind. What fields mean together is judged elsewhere.

`shaped` gives the canonical form: known fields only, those left out that say what holds anyway.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

from django.utils.translation import gettext as _

from apps.clusters.quantities import Resources
from apps.core.errors import InvalidInput
from apps.pipelines.choices import Trigger

from .limits import LONGEST_SECONDS, MAX_ITEMS, MAX_NEEDS, MAX_PARALLELISM, MAX_RETRIES, MAX_TASKS

Problems = dict[str, str]
KEY = re.compile(r"[a-z][a-z0-9_]{0,39}")
SLUG = re.compile(r"[a-z0-9]([a-z0-9_-]{0,61}[a-z0-9])?")
TEMPLATE = re.compile(r"([-a-zA-Z0-9_]{1,50})(?:@([1-9][0-9]{0,8}))?")
RETRY_DEFAULTS = {"count": 0, "delay_seconds": 30, "factor": 2, "cap_seconds": 3600, "fatal_exit_codes": []}
DEFAULTS: dict[str, Any] = {
    "title": "",
    "params": {},
    "resources": {},
    "needs": [],
    "trigger": str(Trigger.ALL_SUCCESS),
    "when": "",
    "skip": False,
    "timeout_seconds": None,
    "priority": 0,
    "cluster": "",
    "resource_group": "",
}


def shaped(document: Any) -> tuple[dict[str, Any], Problems]:
    """The canonical form of a document and what is wrong with its shape, by path. Tasks with problems are left out."""
    problems: Problems = {}
    if not isinstance(document, dict):
        return {}, {"graph": _("Must be an object with tasks.")}
    for name in sorted(set(document) - {"params", "parallelism", "timeout_seconds", "tasks"}):
        problems[name] = _("There is no such field.")
    made: dict[str, Any] = {"params": _schema(document.get("params"))}
    for name, judge in (("parallelism", _whole(1, MAX_PARALLELISM)), ("timeout_seconds", _seconds)):
        if document.get(name) is not None:
            _take(made, problems, name, name, judge, document[name])
    made["tasks"] = _tasks(document.get("tasks"), problems)
    return made, problems


def _schema(params: Any) -> Any:
    """`type` and `additionalProperties` may be left out: they can only be one thing."""
    if params is None:
        params = {}
    if not isinstance(params, dict):
        return params
    return {"type": "object", "additionalProperties": False, "properties": {}, **params}


def _tasks(tasks: Any, problems: Problems) -> dict[str, Any]:
    if not isinstance(tasks, dict) or not tasks:
        problems["tasks"] = _("A pipeline needs at least one task: an object of key to task.")
        return {}
    if len(tasks) > MAX_TASKS:
        problems["tasks"] = _("At most %(count)d tasks.") % {"count": MAX_TASKS}
        return {}
    made = {}
    for key, task in tasks.items():
        at = f"tasks.{key[:60]}"
        if not KEY.fullmatch(key):
            problems[at] = _("Use lower-case letters, digits and '_', a letter first, at most 40 characters.")
        elif not isinstance(task, dict):
            problems[at] = _("Must be an object.")
        else:
            made[key] = _task(task, at, problems)
    if sum(len(task.get("needs", ())) for task in made.values()) > MAX_NEEDS:
        problems["tasks"] = _("At most %(count)d needs altogether.") % {"count": MAX_NEEDS}
    return made


def _task(task: Mapping[str, Any], at: str, problems: Problems) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for name in sorted(set(task) - FIELDS.keys()):
        problems[f"{at}.{name[:60]}"] = _("There is no such field.")
    if "template" not in task:
        problems[f"{at}.template"] = _("This is required.")
    for name, judge in FIELDS.items():
        if task.get(name) is not None:
            _take(made, problems, name, f"{at}.{name}", judge, task[name])
    return {name: value for name, value in made.items() if name not in DEFAULTS or value != DEFAULTS[name]}


def _take(made: dict[str, Any], problems: Problems, name: str, at: str, judge: "Judge", value: Any) -> None:
    """Keep a field's value, or what is wrong with it."""
    try:
        made[name] = judge(value)
    except ValueError as refusal:
        problems[at] = str(refusal)
    except InvalidInput as refusal:
        problems |= {f"{at}{path.removeprefix('resources')}": " ".join(told) for path, told in refusal.fields.items()}


# -- fields: each gives the value as it is kept, or raises ValueError with the words -----------------------------------
Judge = Callable[[Any], Any]


def _whole(least: int, most: int) -> Judge:
    def judge(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise ValueError(_("Must be a whole number from %(least)d to %(most)d.") % {"least": least, "most": most})
        return value

    return judge


_seconds = _whole(1, LONGEST_SECONDS)


def _text(most: int) -> Judge:
    def judge(value: Any) -> str:
        if not isinstance(value, str) or len(value) > most:
            raise ValueError(_("Must be text of at most %(count)d characters.") % {"count": most})
        return value

    return judge


def _object(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(_("Must be an object."))
    return value


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError(_("Must be true or false."))
    return value


def _template(value: Any) -> str:
    if not isinstance(value, str) or not TEMPLATE.fullmatch(value):
        raise ValueError(_("Name a job template, as in python or python@3."))
    return value


def _slug(value: Any) -> str:
    if not isinstance(value, str) or (value and not SLUG.fullmatch(value)):
        raise ValueError(_("Name it by its slug."))
    return value


def _needs(value: Any) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(key, str) for key in value):
        raise ValueError(_("Must be a list of task keys."))
    if len(set(value)) < len(value):
        raise ValueError(_("Each task can be needed once."))
    return value


def _trigger(value: Any) -> str:
    if value not in Trigger.values:
        raise ValueError(_("Must be one of: %(rules)s.") % {"rules": ", ".join(Trigger.values)})
    return str(value)


def _for_each(value: Any) -> Any:
    if isinstance(value, list):
        if len(value) > MAX_ITEMS:
            raise ValueError(_("At most %(count)d items.") % {"count": MAX_ITEMS})
        return value
    if not isinstance(value, str) or not value.strip():
        raise ValueError(_("Must be a list, or an expression that gives one."))
    return value


def _resources(value: Any) -> dict[str, str]:
    given = _object(value)
    Resources.parse(given)
    return given


def _retries(value: Any) -> dict[str, Any]:
    given = _object(value)
    judges: dict[str, Judge] = {
        "count": _whole(0, MAX_RETRIES),
        "delay_seconds": _whole(0, 86_400),
        "factor": _factor,
        "cap_seconds": _whole(0, 7 * 86_400),
        "fatal_exit_codes": _exit_codes,
    }
    if unknown := sorted(set(given) - judges.keys()):
        raise ValueError(_("There is no field %(name)s here.") % {"name": unknown[0][:60]})
    made = {}
    for name, judge in judges.items():
        try:
            made[name] = judge(given.get(name, RETRY_DEFAULTS[name]))
        except ValueError as refusal:
            raise ValueError(f"{name}: {refusal}") from None
    return made


def _factor(value: Any) -> float | int:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 1 <= value <= 10:
        raise ValueError(_("Must be a number from 1 to 10."))
    return value


def _exit_codes(value: Any) -> list[int]:
    is_code = _whole(0, 255)
    if not isinstance(value, list) or len(value) > 256:
        raise ValueError(_("Must be a list of exit codes."))
    return [is_code(code) for code in value]


def _position(value: Any) -> dict[str, Any]:
    given = _object(value)
    if set(given) != {"x", "y"} or not all(
        isinstance(n, int | float) and not isinstance(n, bool) and abs(n) < 1_000_000 for n in given.values()
    ):
        raise ValueError(_("Must be {x, y} with two numbers."))
    return {"x": round(given["x"], 2), "y": round(given["y"], 2)}


FIELDS: dict[str, Judge] = {
    "title": _text(100),
    "template": _template,
    "params": _object,
    "resources": _resources,
    "needs": _needs,
    "trigger": _trigger,
    "when": _text(1100),
    "for_each": _for_each,
    "skip": _flag,
    "retries": _retries,
    "timeout_seconds": _seconds,
    "priority": _whole(-100, 100),
    "cluster": _slug,
    "resource_group": _slug,
    "position": _position,
}
