"""ServiceAccount tokens, RS256 JWTs: those of TokenRequest, good as long as their account (and pod) exists and for the
time asked for; and those kept in a Secret, good as long as the Secret holds them (pkg/serviceaccount/legacy.go).
"""

from __future__ import annotations

import base64
import hashlib
import time
import uuid
from pathlib import Path
from typing import Any

import orjson
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from .call import Identity
from .pki import write_private
from .store import Store

ISSUER = "https://kubernetes.default.svc.cluster.local"
CLAIM = "kubernetes.io"
LASTING_ISSUER, LASTING_CLAIM = "kubernetes/serviceaccount", "kubernetes.io/serviceaccount/"


class Tokens:
    def __init__(self, key_path: Path, store: Store) -> None:
        self._store = store
        self._key = _key(key_path)
        public = self._key.public_key()
        spki = serialization.PublicFormat.SubjectPublicKeyInfo
        der = public.public_bytes(serialization.Encoding.DER, spki)
        self._kid = _b64(hashlib.sha256(der).digest())
        self._known: dict[str, dict[str, Any]] = {}

    def issue(self, account: dict[str, Any], seconds: int, audiences: list[str], bound: dict[str, Any] | None) -> str:
        metadata, now = account["metadata"], int(time.time())
        private: dict[str, Any] = {
            "namespace": metadata["namespace"],
            "serviceaccount": {"name": metadata["name"], "uid": metadata["uid"]},
        }
        if bound:
            private[bound["kind"].lower()] = {"name": bound["name"], "uid": bound.get("uid", "")}
        return self._signed({
            "aud": audiences, "exp": now + seconds, "iat": now, "iss": ISSUER, "jti": str(uuid.uuid4()),
            CLAIM: private, "nbf": now, "sub": f"system:serviceaccount:{metadata['namespace']}:{metadata['name']}",
        })  # fmt: skip

    def issue_lasting(self, account: dict[str, Any], secret: str) -> str:
        """A token without an end, to be kept in the named Secret of the account's namespace."""
        metadata = account["metadata"]
        namespace, name = metadata["namespace"], metadata["name"]
        private = {"namespace": namespace, "secret.name": secret, "service-account.name": name}
        private["service-account.uid"] = metadata["uid"]
        claims = {"iss": LASTING_ISSUER, "sub": f"system:serviceaccount:{namespace}:{name}"}
        return self._signed(claims | {LASTING_CLAIM + key: value for key, value in private.items()})

    def _signed(self, claims: dict[str, Any]) -> str:
        signed = _b64(orjson.dumps({"alg": "RS256", "kid": self._kid})) + "." + _b64(orjson.dumps(claims))
        signature = self._key.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256())
        return f"{signed}.{_b64(signature)}"

    def identify(self, token: str, audience: str = ISSUER) -> Identity | None:
        """Whose token this is, if it is good now and for this audience."""
        claims = self._known.get(token) or self._verify(token)
        if claims is not None and claims["iss"] == LASTING_ISSUER:
            return self._identify_lasting(token, claims) if audience == ISSUER else None
        if claims is None or claims["exp"] < time.time() or audience not in claims["aud"]:
            self._known.pop(token, None)
            return None
        namespace, account = claims[CLAIM]["namespace"], claims[CLAIM]["serviceaccount"]
        if not self._exists("serviceaccounts", namespace, account):
            return None
        if (pod := claims[CLAIM].get("pod")) and not self._exists("pods", namespace, pod):
            return None
        extra = {"authentication.kubernetes.io/credential-id": [f"JTI={claims['jti']}"]}
        return Identity(claims["sub"], _groups(namespace), account["uid"], extra)

    def _identify_lasting(self, token: str, claims: dict[str, Any]) -> Identity | None:
        namespace, secret = claims[LASTING_CLAIM + "namespace"], claims[LASTING_CLAIM + "secret.name"]
        account = {key: claims[f"{LASTING_CLAIM}service-account.{key}"] for key in ("name", "uid")}
        if not self._exists("serviceaccounts", namespace, account):
            return None
        kept = self._store.get("secrets", namespace, secret)
        if kept is None or "deletionTimestamp" in kept.obj["metadata"]:
            return None
        if (kept.obj.get("data") or {}).get("token") != base64.b64encode(token.encode()).decode():
            return None
        return Identity(claims["sub"], _groups(namespace), account["uid"])

    def _exists(self, resource: str, namespace: str, found: dict[str, str]) -> bool:
        stored = self._store.get(resource, namespace, found["name"])
        return stored is not None and stored.obj["metadata"]["uid"] == found["uid"]

    def _verify(self, token: str) -> dict[str, Any] | None:
        """The claims of a token we signed. A signature is checked once; what it grants is checked every time."""
        try:
            signed, _, signature = token.rpartition(".")
            self._key.public_key().verify(_unb64(signature), signed.encode(), padding.PKCS1v15(), hashes.SHA256())
            claims: dict[str, Any] = orjson.loads(_unb64(signed.split(".")[1]))
        except (InvalidSignature, ValueError, IndexError):
            return None
        if len(self._known) > 10_000:
            self._known.clear()
        self._known[token] = claims
        return claims


def _key(path: Path) -> rsa.RSAPrivateKey:
    if path.exists():
        key = serialization.load_pem_private_key(path.read_bytes(), None)
        if not isinstance(key, rsa.RSAPrivateKey):
            raise TypeError(f"{path} holds no RSA key")
        return key
    key = rsa.generate_private_key(65537, 2048)
    pem = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    write_private(path, key.private_bytes(*pem))
    return key


def _groups(namespace: str) -> tuple[str, ...]:
    return "system:serviceaccounts", f"system:serviceaccounts:{namespace}", "system:authenticated"


def _b64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def _unb64(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
