"""Label and field selectors: the grammar of k8s.io/apimachinery/pkg/labels, compiled to a predicate."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from . import errors

Predicate = Callable[[dict[str, Any]], bool]
TERM = re.compile(
    r"\s*(?:(?P<absent>!)\s*(?P<nokey>[\w./-]+)"
    r"|(?P<key>[\w./-]+)\s*(?:(?P<op>==|=|!=|>|<)\s*(?P<value>[\w.-]*)"
    r"|\s(?P<set>in|notin)\s*\(\s*(?P<values>[\w.,\s-]*)\))?)\s*(?:,|$)"
)


def labels(selector: str) -> Predicate | None:
    """A predicate over an object's labels, or None when everything matches."""
    if not selector.strip():
        return None
    terms, at = [], 0
    while at < len(selector):
        found = TERM.match(selector, at)
        if not found or found.end() == at:
            raise errors.bad_request(_complaint(selector[at:]))
        terms.append(_label_term(found))
        at = found.end()
    return lambda obj: _all(terms, obj["metadata"].get("labels") or {})


def _all(terms: list[Callable[[dict[str, str]], bool]], found: dict[str, str]) -> bool:
    return all(term(found) for term in terms)


def _complaint(rest: str) -> str:
    """What Go's parser says about the first thing it cannot use."""
    words = [*re.findall(r"[\w./-]+|==|!=|\S", rest), "", "", ""]
    prefix = "unable to parse requirement: "
    if not re.match(r"[\w./-]", words[0]):
        return f"found '{words[0]}', expected: !, identifier, or 'end of string'"
    if words[1] in ("in", "notin"):
        return f"{prefix}found '{words[2]}' expected: '('"
    if words[1] not in ("=", "==", "!=", "<", ">"):
        return f"{prefix}found '{words[1]}', expected: in, notin, =, ==, !=, gt, lt"
    if not re.match(r"[\w.-]", words[2]):
        return f"{prefix}found '{words[2]}', expected: identifier"
    return f"found '{words[3]}', expected: ',' or 'end of string'"


def _label_term(found: re.Match[str]) -> Callable[[dict[str, str]], bool]:
    if found["absent"]:
        absent = found["nokey"]
        return lambda got: absent not in got
    key, op = found["key"], found["op"]
    if found["set"]:
        values = {value.strip() for value in found["values"].split(",")}
        if found["set"] == "in":
            return lambda got: got.get(key) in values
        return lambda got: got.get(key) not in values
    if op is None:
        return lambda got: key in got
    value = found["value"]
    if op == "!=":
        return lambda got: got.get(key) != value
    if op in "<>":
        return lambda got: key in got and (int(got[key]) > int(value)) == (op == ">")
    return lambda got: got.get(key) == value


# What each kind can be selected by besides metadata.name and metadata.namespace (the registries' own lists).
FIELDS: dict[str, dict[str, str]] = {
    "pods": dict.fromkeys(
        (
            "spec.nodeName",
            "spec.restartPolicy",
            "spec.schedulerName",
            "spec.serviceAccountName",
            "spec.hostNetwork",
            "status.phase",
            "status.podIP",
            "status.nominatedNodeName",
        ),
        "",
    ),
    "events": dict.fromkeys(
        (
            "involvedObject.kind",
            "involvedObject.namespace",
            "involvedObject.name",
            "involvedObject.uid",
            "involvedObject.apiVersion",
            "involvedObject.resourceVersion",
            "involvedObject.fieldPath",
            "reason",
            "reportingComponent",
            "source",
            "type",
        ),
        "",
    ),
    "secrets": {"type": ""},
    "namespaces": {"status.phase": ""},
    "nodes": {"spec.unschedulable": ""},
    "jobs.batch": {"status.successful": ""},
    "services": {"spec.clusterIP": "", "spec.type": ""},
    "replicasets.apps": {"status.replicas": ""},
}
FIELD_TERM = re.compile(r"^\s*([^=!,]+?)\s*(==|=|!=)\s*(.*?)\s*$")


PLAIN = re.compile(r"[-.:/\w]+", re.ASCII)  # JSON writes these as they are


def fields(selector: str, resource: str, group: str, kind: str) -> Predicate | None:
    if not selector.strip():
        return None
    allowed = FIELDS.get(resource, {})
    terms: list[tuple[list[str], bool, str]] = []
    for part in selector.split(","):
        found = FIELD_TERM.match(part)
        if not found:
            raise errors.bad_request(f"invalid selector: '{selector}'; can't understand '{part}'")
        path, op, value = found.groups()
        if path not in allowed and path not in ("metadata.name", "metadata.namespace"):
            if group:
                raise errors.bad_request(f'field label "{path}" not supported for {kind}')
            raise errors.bad_request(f"field label not supported: {path}")
        terms.append((path.split("."), op != "!=", value))
    return lambda obj: all((field_value(obj, path) == value) == equal for path, equal, value in terms)


def field_value(obj: Any, path: list[str]) -> str:
    for part in path:
        obj = obj.get(part) if isinstance(obj, dict) else None
    if isinstance(obj, bool):
        return "true" if obj else "false"
    return "" if obj is None or isinstance(obj, dict) else str(obj)


def name_in(selector: str) -> str | None:
    """The one name a field selector asks for, so that a read by name need not look at everything."""
    for part in selector.split(","):
        found = FIELD_TERM.match(part)
        if found and found[1] == "metadata.name" and found[2] != "!=":
            return found[3]
    return None


def bytes_in(selector: str) -> bytes:
    """What stands in the JSON of every object that a field selector selects: cheaper to look for than to parse."""
    for part in selector.split(","):
        found = FIELD_TERM.match(part)
        if found and found[2] != "!=" and PLAIN.fullmatch(found[3]):
            return found[3].encode()
    return b""


def both(first: Predicate | None, second: Predicate | None) -> Predicate | None:
    if first is None or second is None:
        return first or second
    return lambda obj: first(obj) and second(obj)


def matches(selector: dict[str, Any] | None, found: dict[str, str] | None) -> bool:
    """A LabelSelector object (matchLabels, matchExpressions) against labels."""
    selector, found = selector or {}, found or {}
    if any(found.get(key) != value for key, value in (selector.get("matchLabels") or {}).items()):
        return False
    return all(_expression(term, found) for term in selector.get("matchExpressions") or ())


def _expression(term: dict[str, Any], found: dict[str, str]) -> bool:
    key, values = term["key"], term.get("values") or ()
    match term["operator"]:
        case "In":
            return key in found and found[key] in values
        case "NotIn":
            return found.get(key) not in values
        case "Exists":
            return key in found
    return key not in found
