"""May they? Roles and bindings read straight from the store, as k8s.io/kubernetes/plugin/pkg/auth/authorizer/rbac."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from . import errors
from .call import Identity
from .store import Store

SUFFIX = "rbac.authorization.k8s.io"
# What every authenticated caller may do (system:basic-user, system:discovery, system:public-info-viewer).
BASIC = frozenset(
    ("selfsubjectaccessreviews", "selfsubjectrulesreviews", "selfsubjectreviews"),
)
OPEN_PATHS = ("/api", "/apis", "/healthz", "/livez", "/openapi", "/readyz", "/version")
ANONYMOUS_PATHS = ("/healthz", "/livez", "/readyz", "/version")


@dataclass(frozen=True, slots=True)
class Question:
    verb: str
    group: str
    resource: str  # with the subresource: pods/log
    namespace: str = ""
    name: str = ""


def allow(store: Store, who: Identity, question: Question) -> str | None:
    """The reason why it is allowed, or None."""
    if who.is_admin:
        return ""
    if question.resource in BASIC and question.verb == "create" and "system:authenticated" in who.groups:
        return 'RBAC: allowed by ClusterRoleBinding "system:basic-user"'
    for kind, binding in _bindings(store, question.namespace):
        subject = next((s for s in binding.get("subjects") or () if _is(who, s, binding)), None)
        if subject is None:
            continue
        role = binding["roleRef"]
        if any(_covers(rule, question) for rule in _rules(store, role, binding["metadata"].get("namespace", ""))):
            return _reason(kind, binding, role, subject)
    return None


def require(store: Store, who: Identity, question: Question) -> None:
    if allow(store, who, question) is None:
        raise forbidden(who, question)


def require_path(who: Identity, verb: str, path: str) -> None:
    """Paths that are no resources: discovery is for everyone who is somebody, health for anybody."""
    if who.is_admin:
        return
    allowed = OPEN_PATHS if "system:authenticated" in who.groups else ANONYMOUS_PATHS
    head = "/" + path.strip("/").split("/")[0]
    if head not in allowed or verb != "get":
        why = f'forbidden: User "{who.name}" cannot {verb} path "{path}"'
        raise errors.ApiError(403, "Forbidden", why, {})


def forbidden(who: Identity, question: Question) -> errors.ApiError:
    scope = f'in the namespace "{question.namespace}"' if question.namespace else "at the cluster scope"
    why = (
        f'User "{who.name}" cannot {question.verb} resource "{question.resource}" '
        f'in API group "{question.group}" {scope}'
    )
    return errors.forbidden(question.resource.split("/")[0], question.group, question.name, why)


def rules_for(store: Store, who: Identity, namespace: str) -> list[dict[str, Any]]:
    """Every rule that applies to them in a namespace (SelfSubjectRulesReview)."""
    if who.is_admin:
        return [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}]
    found = [
        {"verbs": ["create"], "apiGroups": ["authorization.k8s.io"],
         "resources": ["selfsubjectaccessreviews", "selfsubjectrulesreviews"]},
        {"verbs": ["create"], "apiGroups": ["authentication.k8s.io"], "resources": ["selfsubjectreviews"]},
    ]  # fmt: skip
    for _, binding in _bindings(store, namespace):
        if any(_is(who, subject, binding) for subject in binding.get("subjects") or ()):
            found += _rules(store, binding["roleRef"], binding["metadata"].get("namespace", ""))
    return [rule for rule in found if rule.get("resources")]


def _bindings(store: Store, namespace: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for binding in store.each(f"clusterrolebindings.{SUFFIX}"):
        yield "ClusterRoleBinding", binding
    if namespace:
        for binding in store.each(f"rolebindings.{SUFFIX}", namespace):
            yield "RoleBinding", binding


def _is(who: Identity, subject: dict[str, Any], binding: dict[str, Any]) -> bool:
    match subject.get("kind"):
        case "User":
            return bool(subject["name"] == who.name)
        case "Group":
            return subject["name"] in who.groups
        case "ServiceAccount":
            namespace = subject.get("namespace") or binding["metadata"].get("namespace", "")
            return who.name == f"system:serviceaccount:{namespace}:{subject['name']}"
    return False


def _rules(store: Store, role: dict[str, Any], namespace: str) -> list[dict[str, Any]]:
    if role["kind"] == "ClusterRole":
        stored = store.get(f"clusterroles.{SUFFIX}", "", role["name"])
    else:
        stored = store.get(f"roles.{SUFFIX}", namespace, role["name"])
    return (stored.obj.get("rules") or []) if stored else []


def _covers(rule: dict[str, Any], question: Question) -> bool:
    def holds(key: str, value: str) -> bool:
        listed = rule.get(key) or ()
        return "*" in listed or value in listed

    names = rule.get("resourceNames")
    resource = holds("resources", question.resource)
    if not resource and "/" in question.resource:
        resource = "*/" + question.resource.split("/")[1] in (rule.get("resources") or ())
    return (
        holds("verbs", question.verb)
        and holds("apiGroups", question.group)
        and resource
        and (not names or question.name in names)
    )


def _reason(kind: str, binding: dict[str, Any], role: dict[str, Any], subject: dict[str, Any]) -> str:
    metadata = binding["metadata"]
    name = f"{metadata['name']}/{metadata['namespace']}" if kind == "RoleBinding" else metadata["name"]
    who = subject["name"]
    if subject["kind"] == "ServiceAccount":
        who = f"{who}/{subject.get('namespace') or metadata.get('namespace', '')}"
    return f'RBAC: allowed by {kind} "{name}" of {role["kind"]} "{role["name"]}" to {subject["kind"]} "{who}"'
