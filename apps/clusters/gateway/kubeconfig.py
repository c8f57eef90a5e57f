"""Kubeconfigs as Cube accepts them: one cluster, inline data, a token or a client certificate, and nothing that runs.

A kubeconfig may name programs to run and files to read. Cube's server would do that with its own rights, so a text
that asks for it is refused. `inline_files` helps an operator at the command line, where the file is theirs.
"""

import base64
import binascii
import ipaddress
import re
import ssl
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml
from django.utils.translation import gettext as _

from apps.core.errors import InvalidInput

MAX_BYTES = 64 * 1024
MAX_DEPTH = 12
TOKEN = re.compile(r"[\x21-\x7e]{1,16384}")
FILES = {
    "certificate-authority": "certificate-authority-data",
    "client-certificate": "client-certificate-data",
    "client-key": "client-key-data",
}
PARTS = (("clusters", "cluster"), ("users", "user"))
RUNS = ("exec", "auth-provider")
IMPERSONATION = ("as", "as-uid", "as-groups", "as-user-extra")


@dataclass(frozen=True)
class Kubeconfig:
    """What is needed to reach one API server. `ca` empty: the system's authorities."""

    server: str  # without a trailing slash
    ca: str = ""  # PEM
    verify: bool = True
    server_name: str = ""
    token: str = ""
    client_certificate: str = ""  # PEM
    client_key: str = ""  # PEM

    def __repr__(self) -> str:  # The default one would print the token and the key.
        return f"Kubeconfig({self.server!r})"

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"} if self.token else {}

    @property
    def is_loopback(self) -> bool:
        return _is_loopback(urlsplit(self.server).hostname or "")

    def tls(self) -> ssl.SSLContext | None:
        """The TLS side of a connection, or None for plain HTTP. Raises ssl.SSLError on unusable certificates.

        OpenSSL loads client keys from files only: they exist, readable by us alone, for the time of that call.
        """
        if self.server.startswith("http:"):
            return None
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        if not self.verify:
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        elif self.ca:
            context.load_verify_locations(cadata=self.ca)
        else:
            context.load_default_certs()
        if self.client_certificate:
            with tempfile.TemporaryDirectory(prefix="cube-tls-") as folder:  # mode 0700
                pem = Path(folder) / "client.pem"
                pem.write_text(f"{self.client_certificate}\n{self.client_key}\n")
                context.load_cert_chain(pem, password="")
        return context


def parse(text: str) -> Kubeconfig:
    """Read and check a kubeconfig. Raises InvalidInput on the field `kubeconfig`, saying what to do."""
    document = _load(text)
    context = _entry(document, "contexts", "context", _current(document))
    cluster = _entry(document, "clusters", "cluster", _name(context, "cluster"))
    user = _entry(document, "users", "user", _name(context, "user")) if context.get("user") else {}
    _refuse_foreign(cluster, user)
    server = _server(cluster)
    config = Kubeconfig(
        server=server,
        ca=_pem(cluster, "certificate-authority-data"),
        verify=cluster.get("insecure-skip-tls-verify") is not True,
        server_name=_text(cluster, "tls-server-name"),
        token=_token(user),
        client_certificate=_pem(user, "client-certificate-data"),
        client_key=_pem(user, "client-key-data"),
    )
    _check_credentials(config)
    return config


def inline_files(text: str, folder: Path) -> str:
    """The current context alone, with the files it names read into it: `kubectl config view --minify --flatten`.

    Other contexts are an operator's other business: their files may be missing, and their credentials are not ours to
    keep. Paths are relative to `folder`. For kubeconfigs that are already the operator's own, never for what arrives
    over the network.
    """
    document = _current_only(_load(text))
    for section, key in PARTS:
        for entry in document.get(section) or []:
            _inline(entry.get(key) if isinstance(entry, dict) else None, folder)
    return yaml.safe_dump(document, sort_keys=False)


def _current_only(document: dict[str, Any]) -> dict[str, Any]:
    """Without what the current context does not use. A file in disorder stays as it is: `parse` says what is wrong."""
    contexts = _named(document, "contexts", document.get("current-context"))
    used = contexts[0].get("context") if contexts else None
    if not isinstance(used, dict):
        return document
    kept = {section: _named(document, section, used.get(key)) for section, key in PARTS}
    return {**document, "contexts": contexts, **kept}


def _named(document: dict[str, Any], section: str, name: Any) -> list[dict[str, Any]]:
    entries = document.get(section)
    return [e for e in entries if isinstance(e, dict) and e.get("name") == name] if isinstance(entries, list) else []


def _inline(values: Any, folder: Path) -> None:
    if not isinstance(values, dict):
        return
    for name, data in FILES.items():
        if (path := values.pop(name, None)) and not values.get(data):
            values[data] = base64.b64encode(_read(folder, path)).decode()
    if (path := values.pop("tokenFile", None)) and not values.get("token"):
        values["token"] = _read(folder, path).decode(errors="replace").strip()


def _read(folder: Path, path: Any) -> bytes:
    try:
        return (folder / str(path)).read_bytes()
    except OSError as error:
        raise _bad(_("The kubeconfig names the file %s, which cannot be read.") % path) from error


def _bad(message: str) -> InvalidInput:
    return InvalidInput({"kubeconfig": message})


def _load(text: str) -> dict[str, Any]:
    if not text.strip():
        raise _bad(_("Paste the kubeconfig here."))
    if len(text.encode(errors="replace")) > MAX_BYTES:
        raise _bad(_("Longer than 64 KiB. Keep one cluster: kubectl config view --minify --flatten"))
    try:
        _check_shape(text)
        document = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        where = _("line %d") % (mark.line + 1) if mark else _("unknown line")
        raise _bad(_("Not valid YAML (%s). Paste the whole file as kubectl wrote it.") % where) from None
    if not isinstance(document, dict) or document.get("kind", "Config") != "Config":
        raise _bad(_("Not a kubeconfig. Paste what `kubectl config view --minify --flatten --raw` prints."))
    return document


def _check_shape(text: str) -> None:
    """Refuse what could make a small text a large or endless document, before anything is built from it."""
    depth = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        if isinstance(event, yaml.AliasEvent):
            raise _bad(_("YAML aliases (*name) are not accepted. Write the values out."))
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH:
            raise _bad(_("Nested too deeply to be a kubeconfig."))


def _current(document: dict[str, Any]) -> str:
    current = document.get("current-context")
    if not isinstance(current, str) or not current:
        raise _bad(_("No current-context. Choose one: kubectl config use-context NAME"))
    return current


def _name(context: dict[str, Any], key: str) -> str:
    value = context.get(key)
    if not isinstance(value, str) or not value:
        raise _bad(_("The current context names no %s.") % key)
    return value


def _entry(document: dict[str, Any], section: str, key: str, name: str) -> dict[str, Any]:
    found = _named(document, section, name)
    if len(found) != 1 or not isinstance(found[0].get(key), dict):
        shown = {"section": section, "name": name[:100]}
        raise _bad(_("There must be exactly one entry named “%(name)s” under %(section)s.") % shown)
    entry: dict[str, Any] = found[0][key]
    return entry


def _refuse_foreign(cluster: dict[str, Any], user: dict[str, Any]) -> None:
    if plugin := next((name for name in RUNS if user.get(name)), ""):
        raise _bad(
            _(
                "Signs in by running a program (%s), which Cube's server will not do. "
                "Use a service account's token or a client certificate."
            )
            % plugin
        )
    files = [name for name in ("certificate-authority",) if cluster.get(name)]
    files += [name for name in ("client-certificate", "client-key", "tokenFile") if user.get(name)]
    if files:
        raise _bad(
            _("Names a file (%s) that only exists on your machine. Put its data inline: kubectl config view --flatten")
            % ", ".join(files)
        )
    if user.get("username") or user.get("password"):
        raise _bad(_("Kubernetes no longer accepts user name and password. Use a token or a client certificate."))
    if any(user.get(name) for name in IMPERSONATION):
        raise _bad(_("Impersonation (as, as-groups) is not supported. Use credentials of the account itself."))
    if cluster.get("proxy-url"):
        raise _bad(_("proxy-url is not supported. Set HTTPS_PROXY where Cube's server runs."))


def _text(values: dict[str, Any], key: str) -> str:
    value = values.get(key) or ""
    if not isinstance(value, str):
        raise _bad(_("%s must be text.") % key)
    return value


def _server(cluster: dict[str, Any]) -> str:
    text = _text(cluster, "server").strip()
    try:
        url = urlsplit(text)
        host, _port = url.hostname or "", url.port
    except ValueError:
        raise _bad(_("The server's address is not a URL; write for example https://10.0.0.1:6443")) from None
    if url.scheme not in ("https", "http") or not host or not re.fullmatch(r"[\x21-\x7e]+", text):
        raise _bad(_("The server's address is not a URL; write for example https://10.0.0.1:6443"))
    if url.username is not None or url.query or url.fragment:
        raise _bad(_("The server's URL must hold no user name, query or fragment."))
    if url.scheme == "http" and not _is_loopback(host):
        raise _bad(_("The server must be reached over https: plain http would show the credentials to the network."))
    return text.rstrip("/")


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _pem(values: dict[str, Any], key: str) -> str:
    text = _text(values, key)
    if not text:
        return ""
    try:
        pem = base64.b64decode("".join(text.split()), validate=True).decode("ascii")
    except (binascii.Error, UnicodeDecodeError):
        raise _bad(_("%s is not base64 of a PEM text.") % key) from None
    if "-----BEGIN" not in pem:
        raise _bad(_("%s does not hold a PEM certificate or key.") % key)
    return pem


def _token(user: dict[str, Any]) -> str:
    token = _text(user, "token").strip()
    if token and not TOKEN.fullmatch(token):
        raise _bad(_("The token holds spaces or unprintable characters. Copy it again."))
    return token


def _check_credentials(config: Kubeconfig) -> None:
    if bool(config.client_certificate) != bool(config.client_key):
        raise _bad(_("A client certificate needs its key: give client-certificate-data and client-key-data."))
    plain = config.server.startswith("http:")
    if not (config.token or config.client_certificate or plain):
        raise _bad(_("Holds no credentials. Use a service account's token or a client certificate."))
    try:
        config.tls()
    except (ssl.SSLError, ValueError, OSError):
        raise _bad(_("Its certificates cannot be used: check that they are whole and that the key fits.")) from None
