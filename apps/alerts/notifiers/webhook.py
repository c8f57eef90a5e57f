"""By HTTP POST, signed as https://www.standardwebhooks.com describes. Nothing of the answer but its status is read."""

import base64
import hashlib
import hmac
import socket
import threading
import time
from typing import Any

import orjson
import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.util.connection import create_connection

from .addresses import problem_of, resolve
from .base import Message, Refused, Target, Unavailable

CONNECT_SECONDS = 5
READ_SECONDS = 10
WHOLE_SECONDS = 20  # An answer that comes letter by letter keeps within READ_SECONDS, not within this.
MAY_PASS = frozenset({408, 425, 429})


class _Checked:
    """A connection to an address that was looked up and checked once, and that is cut after `WHOLE_SECONDS`."""

    def _new_conn(self) -> socket.socket:
        where: Any = self
        address = resolve(where._dns_host, where.port)
        sock = create_connection((address, where.port), CONNECT_SECONDS)
        timer = threading.Timer(WHOLE_SECONDS, _cut, [sock.dup()])
        timer.daemon = True
        timer.start()
        where.timer = timer
        return sock

    def close(self) -> None:
        timer = getattr(self, "timer", None)
        if timer is not None:
            timer.cancel()
            timer.args[0].close()
        super().close()  # type: ignore[misc]


def _cut(sock: socket.socket) -> None:
    try:
        sock.shutdown(socket.SHUT_RDWR)
    except OSError:
        return  # It has ended by itself.


class _CheckedHTTP(_Checked, HTTPConnection):
    pass


class _CheckedHTTPS(_Checked, HTTPSConnection):
    pass


class _HTTPPool(HTTPConnectionPool):
    ConnectionCls = _CheckedHTTP


class _HTTPSPool(HTTPSConnectionPool):
    ConnectionCls = _CheckedHTTPS


class _Adapter(HTTPAdapter):
    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = {"http": _HTTPPool, "https": _HTTPSPool}


class WebhookNotifier:
    def send(self, target: Target, message: Message) -> None:
        if problem_of(target.url):
            raise Refused("The address may not be called. Write it anew.")
        body = orjson.dumps(dict(message.payload))
        with requests.Session() as session:
            session.trust_env = False  # no proxy, and no password of ours from a .netrc
            session.mount("http://", _Adapter())
            session.mount("https://", _Adapter())
            status = self._post(session, target, body, _headers(target, message, body))
        _judge(status)

    def _post(self, session: requests.Session, target: Target, body: bytes, headers: dict[str, str]) -> int:
        limits = (CONNECT_SECONDS, READ_SECONDS)
        try:
            with session.post(
                target.url, data=body, headers=headers, timeout=limits, allow_redirects=False, stream=True
            ) as answer:
                return int(answer.status_code)
        except requests.RequestException as error:
            words = "in time" if isinstance(error, requests.Timeout) else f"as HTTP ({type(error).__name__})"
            raise Unavailable(f"The address did not answer {words}.") from None
        except (OSError, ValueError):
            raise Unavailable("The address did not answer as HTTP.") from None


def _judge(status: int) -> None:
    if 200 <= status < 300:
        return
    if 300 <= status < 400:
        raise Refused(f"The address answered {status}: redirects are not followed. Write where it leads to.")
    if status >= 500 or status in MAY_PASS:
        raise Unavailable(f"The address answered {status}.")
    raise Refused(f"The address answered {status}.")


def _headers(target: Target, message: Message, body: bytes) -> dict[str, str]:
    sent_at = str(int(time.time()))
    headers = {
        "Content-Type": "application/json",
        "User-Agent": "Cube-Webhook/1",
        "Idempotency-Key": message.key,
        "webhook-id": message.key,
        "webhook-timestamp": sent_at,
    }
    if target.signing_secret:
        signed = f"{message.key}.{sent_at}.".encode() + body
        digest = hmac.new(target.signing_secret.encode(), signed, hashlib.sha256).digest()
        headers["webhook-signature"] = f"v1,{base64.b64encode(digest).decode()}"
    return headers
