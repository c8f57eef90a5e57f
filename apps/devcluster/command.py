"""The command line, shared by `manage.py devcluster` and `python -m apps.devcluster`."""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import signal
import sys
import time
from pathlib import Path

STOP_SECONDS = 15.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verbs and their options."""
    parser.add_argument("verb", choices=["start", "stop", "status", "kubeconfig", "reset"])
    parser.add_argument("--data-dir", type=Path, default=Path("var/devcluster"), help="where everything is kept")
    parser.add_argument("--port", type=int, default=0, help="of the HTTPS API on 127.0.0.1; 0 picks a free one")
    parser.add_argument("--node", action="append", default=[], metavar="name=a,cpu=8,memory=32Gi,label=key:value")
    parser.add_argument("--pretend-gpus", default="", metavar="N[:TYPE]", help="nodes claim this many GPUs")
    parser.add_argument(
        "--deny-image", action="append", default=[], metavar="GLOB", help="images that cannot be pulled"
    )
    parser.add_argument("--no-isolation", action="store_true", help="no namespaces, even where they are possible")


def run(options: argparse.Namespace) -> int:
    """Do what the verb says; the exit code."""
    if options.verb == "start":
        from apps.devcluster import cluster  # The other verbs answer without loading the server.

        nodes, gpus, deny = options.node, options.pretend_gpus, options.deny_image
        isolate = not options.no_isolation
        return cluster.main(cluster.Options(options.data_dir, options.port, nodes, gpus, deny, isolate))
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


def _reset(data_dir: Path) -> int:
    if _stop(data_dir):
        return 1
    shutil.rmtree(data_dir, ignore_errors=True)
    _say(f"removed {data_dir}")
    return 0
