"""Fills Secrets of type kubernetes.io/service-account-token, and deletes them with their account.

Source: pkg/controller/serviceaccount/tokens_controller.go. Nobody makes such Secrets unasked any more; whoever creates
one names an account in its annotation and gets a token that never ends, good for as long as the Secret holds it.
"""

from __future__ import annotations

import base64
from collections.abc import Callable

from apps.devcluster.client import SECRETS, SERVICE_ACCOUNTS, ApiError, Client, Informers, Object
from apps.devcluster.loops import WorkQueue

TYPE = "kubernetes.io/service-account-token"
NAME, UID = "kubernetes.io/service-account.name", "kubernetes.io/service-account.uid"
Issue = Callable[[Object, str], str]


class AccountTokenController:
    """`issue(account, secret name)` signs a token, `ca` is the certificate by which clients know the server."""

    def __init__(self, client: Client, informers: Informers, issue: Issue, ca: str) -> None:
        self._client, self._secrets, self._issue, self._ca = client, informers[SECRETS], issue, ca
        self.queue = WorkQueue(self.reconcile)
        self._secrets.subscribe(self._on_secret)
        informers[SERVICE_ACCOUNTS].subscribe(self._on_account)

    def _on_secret(self, kind: str, secret: Object) -> None:
        if kind != "DELETED" and secret.get("type") == TYPE:
            self.queue.add(secret["metadata"]["namespace"], secret["metadata"]["name"])

    def _on_account(self, kind: str, account: Object) -> None:
        if kind == "DELETED":
            for secret in self._secrets.of_namespace(account["metadata"]["namespace"]):
                self._on_secret("MODIFIED", secret)

    async def reconcile(self, namespace: str, name: str) -> None:
        """One look at one Secret."""
        secret = self._secrets.get(namespace, name)
        if secret is None or secret["metadata"].get("deletionTimestamp"):
            return
        account = await self._account(secret)
        if account is None:
            await self._delete(secret)
        elif (full := self._filled(secret, account)) != secret:
            await self._client.replace(SECRETS, full)  # A conflict is tried again.

    async def _account(self, secret: Object) -> Object | None:
        """The account as it is now: a copy that lags must not cost a new Secret its life."""
        notes = secret["metadata"].get("annotations") or {}
        try:
            account = await self._client.get(SERVICE_ACCOUNTS, secret["metadata"]["namespace"], notes.get(NAME, ""))
        except ApiError as error:
            if error.missing:
                return None
            raise
        return account if notes.get(UID) in (None, "", account["metadata"]["uid"]) else None

    def _filled(self, secret: Object, account: Object) -> Object:
        meta, data = secret["metadata"], dict(secret.get("data") or {})
        data["ca.crt"] = _encoded(self._ca)
        if not data.get("namespace"):
            data["namespace"] = _encoded(meta["namespace"])
        if not data.get("token"):
            data["token"] = _encoded(self._issue(account, meta["name"]))
        notes = {**(meta.get("annotations") or {}), UID: account["metadata"]["uid"]}
        return {**secret, "metadata": {**meta, "annotations": notes}, "data": data}

    async def _delete(self, secret: Object) -> None:
        meta = secret["metadata"]
        try:
            options = {"preconditions": {"uid": meta["uid"]}}
            await self._client.delete(SECRETS, meta["namespace"], meta["name"], options)
        except ApiError as error:
            if not error.conflict:  # It is another one by now, which has its own turn.
                raise


def _encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
