"""The benchmark's door: make pods, let them print, restart and delete them, change the rules, ask the oracle.

`POST /bench/<verb>` with a JSON object; the answer is a JSON object, or for `written` the lines themselves.
"""

import asyncio
import resource
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import orjson
from aiohttp import web

from .answers import answer
from .cluster import Cluster, Pod
from .files import Run
from .logs import Follows
from .writers import Press, Wish

if TYPE_CHECKING:
    from .app import LogServer


class Control:
    def __init__(self, server: "LogServer", press: Press) -> None:
        self._server, self._press = server, press
        self._cluster: Cluster = server.cluster

    async def handle(self, request: web.Request) -> web.StreamResponse:
        body = orjson.loads(await request.read() or b"{}")
        verb: Callable[..., Any] | None = getattr(self, f"do_{request.path.rpartition('/')[2]}", None)
        if verb is None:
            return answer({"error": "no such verb"}, 404)
        try:
            made = verb(**body)
            made = await made if asyncio.iscoroutine(made) else made
        except (KeyError, TypeError, ValueError) as error:
            return answer({"error": f"{type(error).__name__}: {error}"}, 400)
        if isinstance(made, bytes):
            return web.Response(body=made, content_type="application/octet-stream")
        return answer(made)

    # -- pods --------------------------------------------------------------------------------------------------------
    def do_pods(
        self,
        *,
        namespace: str,
        names: list[str],
        labels: dict[str, str],
        index: bool = False,
        containers: tuple[str, ...] = ("main",),
        nodes: int = 1,
    ) -> dict[str, str]:
        """Running pods, name -> uid. `index`: each carries its number as its completion index."""
        made = {}
        for number, name in enumerate(names):
            annotations = {"batch.kubernetes.io/job-completion-index": str(number)} if index else {}
            pod = self._cluster.add(
                namespace=namespace,
                name=name,
                labels=labels,
                annotations=annotations,
                containers=containers,
                node=f"node-{number % nodes}",
            )
            made[name] = pod.uid
        return made

    def do_write(
        self, *, pods: list[str] | None = None, container: str = "main", spread: float = 0.0, **wish: Any
    ) -> dict[str, int]:
        """Let the named pods (all without names) print; their beginnings `spread` over so many seconds."""
        chosen = self._chosen(pods)
        for number, pod in enumerate(chosen):
            self._press.start(pod, container, Wish(**wish), after=spread * number / len(chosen))
        return {"pods": len(chosen)}

    def do_text(self, *, pod: str, lines: list[str], container: str = "main") -> dict[str, int]:
        """Exactly these texts, written now."""
        from .lines import stamp

        now = time.time_ns()
        run = self._pod(pod).containers[container].run
        for at, text in enumerate(lines):
            run.write(b"%s %s\n" % (stamp(now + at), text.encode("latin-1")))
        return {"lines": run.ledger.lines}

    def do_flat(self, *, seconds: float, pods: list[str] | None = None, container: str = "main") -> dict[str, int]:
        """Print as fast as somebody reads."""
        chosen = self._chosen(pods)
        for pod in chosen:
            pod.containers[container].run.flat_until = time.monotonic() + seconds
            pod.containers[container].run.tell()
        return {"pods": len(chosen)}

    def do_stop(self, *, pods: list[str] | None = None) -> dict[str, int]:
        self._press.stop({pod.uid for pod in self._chosen(pods)} if pods else None)
        return {}

    def do_idle(self) -> dict[str, bool]:
        return {"idle": self._press.is_idle}

    def do_restart(self, *, pod: str, container: str = "main", times: int = 1) -> dict[str, int]:
        held = self._pod(pod)
        for _ in range(times):
            self._cluster.restart(held, container)
        return {"restart": held.containers[container].restart}

    def do_rotate(self, *, pod: str, container: str = "main") -> dict[str, int]:
        run = self._pod(pod).containers[container].run
        run.rotate()
        return {"rotations": run.ledger.rotations}

    def do_finish(self, *, pods: list[str] | None = None, exit_code: int = 0) -> dict[str, int]:
        for pod in self._chosen(pods):
            self._cluster.finish(pod, exit_code=exit_code)
        return {}

    async def do_delete(
        self, *, pod: str, grace: float = 0.0, last_lines: int = 0, over: float = 0.2, is_node_lost: bool = False
    ) -> dict[str, int]:
        """Delete: the deletion stamp, `last_lines` within the last `over` seconds before the container dies, then
        `grace` seconds in which the dead container can still be read, then nothing. A lost node gives no grace."""
        held = self._pod(pod)
        self._cluster.leave(held)
        self._press.stop({held.uid})
        for _ in range(4 if last_lines else 0):
            self._press.start(held, "main", Wish(lines=last_lines // 4))
            await asyncio.sleep(over / 4)
        if not is_node_lost:
            self._cluster.finish(held)
            await asyncio.sleep(grace)
        self._cluster.remove(held, is_node_lost=is_node_lost)
        return {"lines": held.containers["main"].run.ledger.lines}

    # -- rules and clocks --------------------------------------------------------------------------------------------
    def do_rules(self, **values: Any) -> dict[str, int]:
        self._server.rules.change(values)
        return {}

    def do_clock(self, *, node: str, step_back: float) -> dict[str, int]:
        """Set a node's clock back by so many seconds in all."""
        self._cluster.clocks[node] = int(step_back * 10**9)
        return {}

    # -- what was written, and how it was read -----------------------------------------------------------------------
    def do_oracle(self, *, pods: list[str] | None = None) -> list[dict[str, Any]]:
        """One entry per container run, of pods that are gone, too; chosen by name."""
        found = []
        for (uid, container, restart), run in self._cluster.runs.items():
            name = self._cluster.names[uid]
            if pods is None or name in pods:
                found.append({"pod": name, "uid": uid, "container": container, "restart": restart, **_told(run)})
        return found

    def do_written(self, *, uid: str, container: str = "main", restart: int = 0) -> bytes:
        """Every line, stamped, if lines are kept."""
        kept = self._cluster.runs[uid, container, restart].ledger.kept
        if kept is None:
            raise ValueError("lines are not kept")
        return b"".join(kept)

    def do_stats(self) -> dict[str, Any]:
        follows, used = self._server.follows, resource.getrusage(resource.RUSAGE_SELF)
        return {
            "requests": dict(self._server.requests),
            "follows": follows.now,
            "most_follows": follows.most,
            "started": follows.started,
            "reads": follows.reads,
            "cuts": follows.cuts,
            "no_watcher": follows.no_watcher,
            "opened_at": follows.opened_at,
            "of_pod": {uid: number for uid, number in follows.of_pod.items() if number},
            "watching": sum(follows.open.values()),
            "processor_seconds": used.ru_utime + used.ru_stime,
            "memory_kib": used.ru_maxrss,
        }

    def do_forget(self) -> dict[str, int]:
        """Begin anew: no pods, no ledgers, the usual rules, all counts at zero."""
        self._press.stop()
        for pod in list(self._cluster.pods.values()):
            self._cluster.remove(pod)
        self._cluster.runs.clear()
        self._cluster.names.clear()
        self._cluster.clocks.clear()
        self._server.rules.__init__()  # type: ignore[misc]
        self._server.follows = Follows()  # What is still open counts down in the one it began with.
        self._server.requests.clear()
        return {}

    # -- helpers -----------------------------------------------------------------------------------------------------
    def _chosen(self, names: list[str] | None) -> list[Pod]:
        return list(self._cluster.pods.values()) if names is None else [self._pod(name) for name in names]

    def _pod(self, name: str) -> Pod:
        """By name, in whatever namespace: the newest of that name."""
        for (_, held), pod in reversed(self._cluster.pods.items()):
            if held == name:
                return pod
        raise KeyError(name)


def _told(run: Run) -> dict[str, Any]:
    ledger = run.ledger
    return {
        "lines": ledger.lines,
        "bytes": ledger.bytes,
        "digest": ledger.digest.hexdigest(),
        "rotations": ledger.rotations,
        "readable_from": ledger.rotated_at[-1] if ledger.rotated_at else 0,
        "delivered": ledger.delivered,
        "last_written": ledger.last_written,
    }
