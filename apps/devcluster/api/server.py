"""The web application: one door for every path, TLS on loopback and a unix socket for the house's own components."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import orjson
import structlog
from aiohttp import web

from . import errors, kubeconfig, pki
from .auth import ADMIN, Authenticator
from .call import SYSTEM, Identity
from .context import Api
from .handlers import Handlers
from .node_port import NodePort
from .objects import Objects
from .registry import BUILT_IN, Registry
from .request import IDENTITY
from .store import Store
from .tokens import Tokens

log = structlog.get_logger(__name__)
MAX_BODY = 3 * 1024 * 1024  # what etcd and the API server accept together


@dataclass(slots=True)
class RunningApi:
    url: str
    socket_path: Path
    kubeconfig_path: Path
    admin_token: str
    ca: str
    tokens: Tokens
    store: Store
    objects: Objects
    runners: list[web.AppRunner]
    tasks: list[asyncio.Task[None]]

    async def close(self) -> None:
        for task in self.tasks:
            task.cancel()
        for runner in self.runners:
            await runner.cleanup()
        await self.store.close()
        self.socket_path.unlink(missing_ok=True)


def create_app(handlers: Handlers, identify: Callable[[web.Request], Identity]) -> web.Application:
    async def door(request: web.Request) -> web.StreamResponse:
        try:
            request[IDENTITY] = identify(request)
            return await handlers.dispatch(request)
        except errors.ApiError as refusal:
            return error_response(refusal)
        except (web.HTTPException, ConnectionResetError):
            raise
        except Exception as failure:
            log.exception("devcluster_request_failed", method=request.method, path=request.path)
            return error_response(errors.ApiError(500, "InternalError", f"Internal error occurred: {failure!r}"))

    app = web.Application(client_max_size=MAX_BODY)
    app.router.add_route("*", "/{path:.*}", door)
    return app


def error_response(refusal: errors.ApiError) -> web.Response:
    body = orjson.dumps(refusal.status())
    return web.Response(body=body, status=refusal.code, content_type="application/json", headers=refusal.headers)


async def start_api(data_dir: Path, port: int, node: NodePort | None) -> RunningApi:
    """Serve the API from `data_dir`; port 0 picks a free one."""
    data_dir.mkdir(parents=True, exist_ok=True)
    data_dir.chmod(0o700)
    ca, context = pki.ensure(data_dir)
    token = _admin_token(data_dir / "admin.token")
    store = Store(data_dir / "objects.sqlite3")
    rows = [row for row in BUILT_IN if node is not None or row.group != "metrics.k8s.io"]
    objects = Objects(store, Registry(rows))
    tokens = Tokens(data_dir / "sa.key", store)
    handlers = Handlers(Api(objects, tokens, node))
    handlers.bootstrap(ca.read_text())
    await store.committed()
    tasks = handlers.start()
    authenticator = Authenticator({token: ADMIN}, tokens)
    outside = web.AppRunner(
        create_app(handlers, authenticator.identify),
        access_log=None,
        handler_cancellation=True,
        shutdown_timeout=0.5,
    )
    inside = web.AppRunner(
        create_app(handlers, lambda _: SYSTEM),
        access_log=None,
        handler_cancellation=True,
        shutdown_timeout=0.5,
    )
    await outside.setup()
    await inside.setup()
    socket_path = data_dir / "api.sock"
    socket_path.unlink(missing_ok=True)
    await web.UnixSite(inside, str(socket_path)).start()
    socket_path.chmod(0o600)
    site = web.TCPSite(outside, "127.0.0.1", port, ssl_context=context)
    await site.start()
    port = outside.addresses[0][1]
    url = f"https://127.0.0.1:{port}"
    config = data_dir / "kubeconfig"
    kubeconfig.write(config, url=url, ca=ca, token=token)
    runners = [outside, inside]
    return RunningApi(url, socket_path, config, token, ca.read_text(), tokens, store, objects, runners, tasks)


def _admin_token(path: Path) -> str:
    """One token for the cluster's life, so that a kubeconfig outlives a restart."""
    if not path.exists():
        pki.write_private(path, secrets.token_urlsafe(32).encode())
    return path.read_text().strip()
