"""The command line, shared by `manage.py devcluster` and `python -m apps.devcluster`."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import shutil
import signal
import sys
import time
from pathlib import Path

from apps.devcluster import nodes
from apps.devcluster.quantities import parse

STOP_SECONDS = 15.0
NODE_VERBS = "lose NAME, return NAME or add name=…"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verbs and their options."""
    parser.add_argument("verb", choices=["start", "stop", "status", "kubeconfig", "reset", "node"])
    parser.add_argument("words", nargs="*", metavar="WORD", help=f"after `node`: {NODE_VERBS}")
    parser.add_argument("--crash", action="store_true", help="after `node lose`: its processes die with it")
    parser.add_argument("--data-dir", type=Path, default=Path("var/devcluster"), help="where everything is kept")
    parser.add_argument("--port", type=int, default=0, help="of the HTTPS API on 127.0.0.1; 0 picks a free one")
    parser.add_argument(
        "--node",
        action="append",
        default=[],
        metavar="name=a,cpu=8,label=key:value,taint=key=value:Effect",
    )
    parser.add_argument("--pretend-gpus", default="", metavar="N[:TYPE]", help="nodes claim this many GPUs")
    parser.add_argument(
        "--deny-image", action="append", default=[], metavar="GLOB", help="images that cannot be pulled"
    )
    parser.add_argument("--programs", default="", metavar="DIR", help="containers look for their programs here first")
    parser.add_argument("--container-log-max-size", default="10Mi", help="rotate a container's log above this")
    parser.add_argument("--container-log-max-files", type=int, default=5, help="keep so many, the current one included")
    parser.add_argument("--container-log-monitor-interval", type=float, default=10.0, help="seconds between looks")
    parser.add_argument(
        "--node-monitor-grace-period", type=float, default=50.0, help="seconds of silence until a node counts as lost"
    )
    parser.add_argument("--no-isolation", action="store_true", help="no namespaces, even where they are possible")


def run(options: argparse.Namespace) -> int:
    """Do what the verb says; the exit code."""
    if options.verb == "start":
        from apps.devcluster import cluster  # The other verbs answer without loading the server.

        declared, gpus, deny = options.node, options.pretend_gpus, options.deny_image
        isolate = not options.no_isolation
        size = int(parse(options.container_log_max_size))
        logs = cluster.LogLimits(size, options.container_log_max_files, options.container_log_monitor_interval)
        where = (options.data_dir, options.port)
        grace = options.node_monitor_grace_period
        return cluster.main(cluster.Options(*where, declared, gpus, deny, isolate, options.programs, logs, grace))
    if options.verb == "node":
        return _node(options.data_dir, options.words, crash=options.crash)
    verbs = {"stop": _stop, "status": _status, "kubeconfig": _kubeconfig, "reset": _reset}
    return verbs[options.verb](options.data_dir)


def running_pid(data_dir: Path) -> int | None:
    """The process that holds the data directory."""
    import fcntl

    with contextlib.suppress(OSError, ValueError), (data_dir / "pid").open("r+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return int(file.read())
    return None


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")


def _stop(data_dir: Path) -> int:
    pid = running_pid(data_dir)
    if pid is None:
        _say("not running")
        return 0
    os.kill(pid, signal.SIGTERM)
    end = time.monotonic() + STOP_SECONDS
    while running_pid(data_dir) is not None:
        if time.monotonic() > end:
            _say(f"process {pid} does not stop")
            return 1
        time.sleep(0.05)
    _say("stopped")
    return 0


def _status(data_dir: Path) -> int:
    pid = running_pid(data_dir)
    _say(f"running as process {pid} in {data_dir}" if pid else f"not running in {data_dir}")
    return 0 if pid else 3


def _kubeconfig(data_dir: Path) -> int:
    path = data_dir / "kubeconfig"
    if not path.exists():
        _say(f"there is no cluster in {data_dir}; start one first")
        return 1
    sys.stdout.write(path.read_text())
    return 0


def _node(data_dir: Path, words: list[str], *, crash: bool) -> int:
    """Cut a node off, let it return, or add one: written on the Node, where the kubelet reads it."""
    from apps.devcluster.client import NODES, ApiError, Client

    if running_pid(data_dir) is None:
        _say(f"not running in {data_dir}")
        return 3
    verb, name = words if len(words) == 2 else ("", "")
    if verb not in ("lose", "return", "add"):
        _say(f"node takes {NODE_VERBS}")
        return 2

    async def write() -> None:
        client = Client(str(data_dir / "api.sock"), "inside")
        try:
            if verb == "add":
                node = nodes.parse_node(name, {})
                meta = {"name": node.name, "labels": node.labels, "annotations": {nodes.ADDED: name}}
                await client.create(NODES, None, {"metadata": meta, "spec": {"taints": node.taints}})
            else:
                how = (nodes.CRASHED if crash else nodes.RUNNING) if verb == "lose" else None
                await client.patch(NODES, None, name, {"metadata": {"annotations": {nodes.LOST: how}}})
        finally:
            await client.close()

    try:
        asyncio.run(write())
    except (ApiError, ValueError) as error:
        _say(getattr(error, "message", str(error)))
        return 1
    _say({"lose": f"{name} is cut off", "return": f"{name} is back", "add": "added"}[verb])
    return 0


def _reset(data_dir: Path) -> int:
    if not (data_dir / "pid").exists():  # Whatever else this folder is, it is not ours to remove.
        _say(f"there is no cluster in {data_dir}")
        return 0
    if _stop(data_dir):
        return 1
    shutil.rmtree(data_dir, ignore_errors=True)
    if data_dir.exists():
        _say(f"{data_dir} could not be removed, at least not as a whole")
        return 1
    _say(f"removed {data_dir}")
    return 0
