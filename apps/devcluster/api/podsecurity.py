"""Pod Security admission: the `baseline` and `restricted` standards, with the message a real server gives.

Source: k8s.io/pod-security-admission/policy; the checks come in the order in which the library reports them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from . import errors
from .defaults import containers
from .store import Object

LABEL = "pod-security.kubernetes.io/enforce"
BASELINE_CAPABILITIES = {
    "AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD", "NET_BIND_SERVICE", "SETFCAP",
    "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT",
}  # fmt: skip
RESTRICTED_VOLUMES = {
    "configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret", "image",
}  # fmt: skip
Complaint = Iterator[str]


def enforce(namespace: Object, pod: Object) -> None:
    labels = (namespace.get("metadata") or {}).get("labels") or {}
    level = labels.get(LABEL, "privileged")
    if level not in ("baseline", "restricted"):
        return
    checks = BASELINE if level == "baseline" else [*BASELINE, *RESTRICTED]
    found = [complaint for check in checks for complaint in check(pod["spec"])]
    if found:
        version = labels.get(f"{LABEL}-version", "latest")
        why = f'violates PodSecurity "{level}:{version}": {", ".join(found)}'
        raise errors.forbidden("pods", "", pod["metadata"].get("name", ""), why)


def _who(names: list[str]) -> str:
    listed = ", ".join(f'"{name}"' for name in names)
    return f"container{'s' if len(names) > 1 else ''} {listed}"


def _context(container: Object) -> Object:
    return container.get("securityContext") or {}


def _failing(spec: Object, bad: Callable[[Object], bool]) -> list[str]:
    return [container["name"] for container in containers(spec) if bad(_context(container))]


def host_namespaces(spec: Object) -> Complaint:
    used = [f"{name}=true" for name in ("hostNetwork", "hostPID", "hostIPC") if spec.get(name)]
    if used:
        yield f"host namespaces ({', '.join(used)})"


def privileged(spec: Object) -> Complaint:
    if names := _failing(spec, lambda context: bool(context.get("privileged"))):
        verb = "must not set securityContext.privileged=true"
        yield f"privileged ({_who(names)} {verb})"


def added_capabilities(spec: Object) -> Complaint:
    def added(context: Object) -> set[str]:
        return set((context.get("capabilities") or {}).get("add") or ())

    if names := _failing(spec, lambda context: bool(added(context) - BASELINE_CAPABILITIES)):
        extra = sorted({c for k in containers(spec) for c in added(_context(k)) - BASELINE_CAPABILITIES})
        listed = ", ".join(f'"{name}"' for name in extra)
        yield f"non-default capabilities ({_who(names)} must not include {listed} in securityContext.capabilities.add)"


def host_path(spec: Object) -> Complaint:
    if names := [v["name"] for v in spec.get("volumes") or () if v.get("hostPath") is not None]:
        listed = ", ".join(f'"{name}"' for name in names)
        yield f"hostPath volumes (volume{'s' if len(names) > 1 else ''} {listed})"


def host_ports(spec: Object) -> Complaint:
    for container in containers(spec):
        ports = [str(p["hostPort"]) for p in container.get("ports") or () if p.get("hostPort")]
        if ports:
            listed = f"hostPort{'s' if len(ports) > 1 else ''} {', '.join(ports)}"
            yield f'hostPort (container "{container["name"]}" uses {listed})'


def privilege_escalation(spec: Object) -> Complaint:
    if names := _failing(spec, lambda context: context.get("allowPrivilegeEscalation") is not False):
        wanted = "must set securityContext.allowPrivilegeEscalation=false"
        yield f"allowPrivilegeEscalation != false ({_who(names)} {wanted})"


def dropped_capabilities(spec: Object) -> Complaint:
    def keeps(context: Object) -> bool:
        return "ALL" not in ((context.get("capabilities") or {}).get("drop") or ())

    if names := _failing(spec, keeps):
        yield f'unrestricted capabilities ({_who(names)} must set securityContext.capabilities.drop=["ALL"])'


def volume_types(spec: Object) -> Complaint:
    for volume in spec.get("volumes") or ():
        kind = next((key for key in volume if key != "name"), "emptyDir")
        if kind not in RESTRICTED_VOLUMES:
            yield f'restricted volume types (volume "{volume["name"]}" uses restricted volume type "{kind}")'


def run_as_non_root(spec: Object) -> Complaint:
    pod = (spec.get("securityContext") or {}).get("runAsNonRoot")
    explicit = _failing(spec, lambda context: context.get("runAsNonRoot") is False)
    missing = _failing(spec, lambda context: context.get("runAsNonRoot") is None) if pod is not True else []
    if explicit:
        yield f"runAsNonRoot != true ({_who(explicit)} must not set securityContext.runAsNonRoot=false)"
    elif missing:
        yield f"runAsNonRoot != true (pod or {_who(missing)} must set securityContext.runAsNonRoot=true)"


def run_as_user(spec: Object) -> Complaint:
    if (spec.get("securityContext") or {}).get("runAsUser") == 0:
        yield "runAsUser=0 (pod must not set runAsUser=0)"
    elif names := _failing(spec, lambda context: context.get("runAsUser") == 0):
        yield f"runAsUser=0 ({_who(names)} must not set runAsUser=0)"


def seccomp(spec: Object) -> Complaint:
    def kind(context: Object) -> str | None:
        return (context.get("seccompProfile") or {}).get("type")

    good = ("RuntimeDefault", "Localhost")
    pod = kind(spec.get("securityContext") or {}) in good
    if names := _failing(spec, lambda context: kind(context) not in ((*good, None) if pod else good)):
        yield (
            f"seccompProfile (pod or {_who(names)} must set securityContext.seccompProfile.type "
            'to "RuntimeDefault" or "Localhost")'
        )


BASELINE = [host_namespaces, privileged, added_capabilities, host_path, host_ports]
RESTRICTED = [privilege_escalation, dropped_capabilities, volume_types, run_as_non_root, run_as_user, seccomp]
