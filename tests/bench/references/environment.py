"""Throw-away environments for references, in var/bench: made once, announced, and made again when their pins change."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
HERE = Path(__file__).parent
WANTED = os.environ.get("REFERENCES", "1") != "0"
INSTALL_SECONDS = 1500


class NotInstalled(Exception):
    """The reference cannot be measured here; says why."""


def python_of(name: str) -> Path:
    """The Python of the environment that has the packages of `<name>/requirements.txt`. Raises NotInstalled."""
    if not WANTED:
        raise NotInstalled("REFERENCES=0")
    folder, requirements = ROOT / "var" / "bench" / name, HERE / name / "requirements.txt"
    digest = hashlib.sha256(requirements.read_bytes()).hexdigest()
    mark, python = folder / "installed", folder / "bin" / "python"
    if not (mark.exists() and mark.read_text() == digest):
        _install(folder, python, requirements)
        mark.write_text(digest)
    return python


def _install(folder: Path, python: Path, requirements: Path) -> None:
    sys.stdout.write(f"installing the reference {requirements.parent.name} into {folder} (REFERENCES=0: none) …\n")
    sys.stdout.flush()
    steps = (
        [sys.executable, "-m", "venv", "--clear", str(folder)],
        [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", str(requirements)],
    )
    for step in steps:
        try:
            done = subprocess.run(step, capture_output=True, text=True, timeout=INSTALL_SECONDS, check=False)  # noqa: S603
        except (OSError, subprocess.TimeoutExpired) as problem:
            raise NotInstalled(f"not installed: {problem}"[:120]) from None
        if done.returncode:
            last = (done.stderr.strip() or done.stdout.strip() or "no output").splitlines()[-1]
            raise NotInstalled(f"not installed: {last}"[:120])
