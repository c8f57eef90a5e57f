"""A container's environment and command line."""

from __future__ import annotations

import base64
import re
import sys
from pathlib import Path
from typing import Any

from apps.devcluster.client import CONFIG_MAPS, SECRETS, ApiError, Client, Object
from apps.devcluster.kubelet.fields import PodFacts, field, resource
from apps.devcluster.kubelet.sandbox import HOME

# `python` and `python3` mean the interpreter that runs the devcluster: images are names only.
PATH = f"{Path(sys.executable).parent}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_REFERENCE = re.compile(r"\$\$|\$\(([^)]*)\)")


class ConfigError(Exception):
    """Something the container refers to is not there (CreateContainerConfigError)."""


def expand(text: str, env: dict[str, str]) -> str:
    """`$(NAME)` becomes the variable, unknown ones stay, `$$` is an escaped dollar sign."""

    def value(match: re.Match[str]) -> str:
        if match[0] == "$$":
            return "$"
        return env.get(match[1], match[0])

    return _REFERENCE.sub(value, text)


class Source:
    """Reads ConfigMaps and Secrets of one namespace, each once."""

    def __init__(self, client: Client, namespace: str) -> None:
        self._client, self._namespace = client, namespace
        self._seen: dict[tuple[str, str], dict[str, bytes] | None] = {}

    async def data(self, kind: str, name: str) -> dict[str, bytes] | None:
        """All keys of `configmap` or `secret` `name`; None where it does not exist."""
        if (kind, name) not in self._seen:
            self._seen[kind, name] = await self._read(kind, name)
        return self._seen[kind, name]

    async def _read(self, kind: str, name: str) -> dict[str, bytes] | None:
        try:
            obj = await self._client.get(CONFIG_MAPS if kind == "configmap" else SECRETS, self._namespace, name)
        except ApiError as error:
            if error.missing:
                return None
            raise
        if kind == "secret":
            return {key: base64.b64decode(value) for key, value in (obj.get("data") or {}).items()}
        plain = {key: value.encode() for key, value in (obj.get("data") or {}).items()}
        return plain | {key: base64.b64decode(value) for key, value in (obj.get("binaryData") or {}).items()}


async def build_env(
    facts: PodFacts, container: Object, source: Source, services: dict[str, str], hostname: str
) -> dict[str, str]:
    """The variables in Kubernetes' order of precedence: services, envFrom, env."""
    env = {"PATH": PATH, "HOSTNAME": hostname, "HOME": HOME, **services}
    for entry in container.get("envFrom") or []:
        env |= await _env_from(entry, source)
    own: dict[str, str] = {}
    for entry in container.get("env") or []:
        if "valueFrom" in entry:
            value = await _value_from(facts, container, entry["valueFrom"], source)
            if value is None:
                continue
        else:
            value = expand(entry.get("value") or "", {**env, **own})
        own[entry["name"]] = value
    return env | own


async def _env_from(entry: dict[str, Any], source: Source) -> dict[str, str]:
    kind, ref = ("configmap", entry["configMapRef"]) if "configMapRef" in entry else ("secret", entry["secretRef"])
    data = await source.data(kind, ref["name"])
    if data is None:
        if ref.get("optional"):
            return {}
        raise ConfigError(f'{kind} "{ref["name"]}" not found')
    prefix = entry.get("prefix") or ""
    pairs = ((prefix + key, value.decode(errors="replace")) for key, value in data.items())
    return {key: value for key, value in pairs if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", key)}


async def _value_from(facts: PodFacts, container: Object, ref: dict[str, Any], source: Source) -> str | None:
    if "fieldRef" in ref:
        return field(facts, ref["fieldRef"]["fieldPath"])
    if "resourceFieldRef" in ref:
        return resource(facts, container, ref["resourceFieldRef"])
    kind = "configmap" if "configMapKeyRef" in ref else "secret"
    key_ref = ref.get("configMapKeyRef") or ref["secretKeyRef"]
    data = await source.data(kind, key_ref["name"])
    if data is not None and key_ref["key"] in data:
        return data[key_ref["key"]].decode(errors="replace")
    if key_ref.get("optional"):
        return None
    if data is None:
        raise ConfigError(f'{kind} "{key_ref["name"]}" not found')
    shown = "ConfigMap" if kind == "configmap" else "Secret"
    where = f"{facts.pod['metadata']['namespace']}/{key_ref['name']}"
    raise ConfigError(f"couldn't find key {key_ref['key']} in {shown} {where}")


def service_env(services: list[Object], api_host: str, api_port: int) -> dict[str, str]:
    """`<NAME>_SERVICE_HOST` and friends for every service with an address, and the API's own.

    Source: https://kubernetes.io/docs/tutorials/services/connect-applications-service/#environment-variables
    """
    env = _link("KUBERNETES", api_host, [{"name": "https", "port": api_port}])
    for service in services:
        spec, name = service["spec"], service["metadata"]["name"]
        address = spec.get("clusterIP") or "None"
        if address != "None" and spec.get("ports") and name != "kubernetes":
            env |= _link(name.upper().replace("-", "_"), address, spec["ports"])
    return env


def _link(prefix: str, host: str, ports: list[dict[str, Any]]) -> dict[str, str]:
    env = {f"{prefix}_SERVICE_HOST": host, f"{prefix}_SERVICE_PORT": str(ports[0]["port"])}
    for index, port in enumerate(ports):
        number, protocol = port["port"], port.get("protocol", "TCP")
        if port.get("name"):
            env[f"{prefix}_SERVICE_PORT_{port['name'].upper().replace('-', '_')}"] = str(number)
        url = f"{protocol.lower()}://{host}:{number}"
        if index == 0:
            env[f"{prefix}_PORT"] = url
        base = f"{prefix}_PORT_{number}_{protocol.upper()}"
        env |= {
            base: url,
            f"{base}_ADDR": host,
            f"{base}_PORT": str(number),
            f"{base}_PROTO": protocol.lower(),
        }
    return env
