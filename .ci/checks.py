"""Everything `make test` checks: part after part, each timed, then one summary. Fails when any part failed.

What cannot run here is reported as skipped with its reason, never as passed. `--only NAME…` runs some parts.
"""

import argparse
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ElementTree
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BIN = ROOT / ".venv" / "bin"
PYTHON = str(BIN / "python")
WORKERS = "2"
LONGEST_SECONDS = 900
# Suites with processes or a browser of their own run as parts of their own.
APART = ("tests/devcluster", "tests/journeys", "tests/bench")
POSTGRES_CANDIDATES = ("postgres:postgres@", "postgres@", f"{os.environ.get('USER', 'root')}@")


@dataclass
class Outcome:
    state: str  # passed, skipped, failed
    note: str = ""
    details: list[str] = field(default_factory=list)


def passed(note: str = "") -> Outcome:
    return Outcome("passed", note)


def skipped(reason: str) -> Outcome:
    return Outcome("skipped", reason)


def tell(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def call(*command: str, **environment: str) -> bool:
    """Whether it went well. Ctrl-C and the time limit leave it time to end what it has started itself."""
    process = subprocess.Popen(command, cwd=ROOT, env={**os.environ, **environment}, stdin=subprocess.DEVNULL)  # noqa: S603
    try:
        return process.wait(timeout=LONGEST_SECONDS) == 0
    except subprocess.TimeoutExpired:
        tell(f"It took longer than {LONGEST_SECONDS} s and is ended: {' '.join(command)}")
        process.send_signal(signal.SIGINT)
        return False
    finally:
        try:
            process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            process.kill()


def all_of(*commands: tuple[str, ...]) -> Outcome:
    """Runs every command, so that one report shows every complaint."""
    failed = [" ".join(Path(word).name for word in command[:2]) for command in commands if not call(*command)]
    return Outcome("failed", ", ".join(failed)) if failed else passed()


# -- pytest ------------------------------------------------------------------------------------------------------------
def pytest(*arguments: str, **environment: str) -> Outcome:
    """Counts what passed and why the rest was skipped, from pytest's own report."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = (PYTHON, "-m", "pytest", "--junitxml", str(report), "-p", "no:cacheprovider", *arguments)
        went_well = call(*command, **environment)
        if not report.exists():
            return Outcome("failed", "pytest did not run")
        cases = ElementTree.parse(report).getroot().findall(".//testcase")  # noqa: S314  We wrote it.
    kinds = Counter(_kind(case) for case in cases)
    reasons = Counter(case.find("skipped").get("message", "") for case in cases if _kind(case) == "skipped")
    note = ", ".join(f"{number} {kind}" for kind, number in sorted(kinds.items()))
    details = [f"skipped {number}: {reason}" for reason, number in reasons.most_common()]
    if went_well and not kinds["passed"]:
        return Outcome("skipped", next(iter(reasons), "no tests"), details)
    return Outcome("passed" if went_well else "failed", note, details)


def _kind(case: ElementTree.Element) -> str:
    for kind in ("failure", "error", "skipped"):
        if case.find(kind) is not None:
            return "skipped" if kind == "skipped" else "failed"
    return "passed"


def without(*folders: str) -> list[str]:
    return [f"--ignore={folder}" for folder in folders]


# -- the parts ---------------------------------------------------------------------------------------------------------
def style() -> Outcome:
    ruff = str(BIN / "ruff")
    return all_of((ruff, "check", "--quiet", "."), (ruff, "format", "--quiet", "--check", "."))


def types() -> Outcome:
    return all_of((str(BIN / "mypy"),))


def imports() -> Outcome:
    return all_of((str(BIN / "lint-imports"), "--no-logo"))


def migrations() -> Outcome:
    command = (PYTHON, "manage.py", "makemigrations", "--check", "--dry-run", "--settings=cube.settings.test")
    return all_of(command)


def sqlite() -> Outcome:
    return pytest("tests", *without(*APART), "-n", WORKERS, CUBE_TEST_DATABASE_URL="", CUBE_TEST_REDIS_URL="")


def postgres() -> Outcome:
    """What uses a database, once more; all else has run on SQLite's turn and would not differ."""
    base = _postgres()
    if not base:
        return skipped("no PostgreSQL: set CUBE_TEST_DATABASE_URL, or start one on 127.0.0.1:5432")
    redis = _redis()
    if not redis:
        return skipped("no Redis: set CUBE_TEST_REDIS_URL, or start one on 127.0.0.1:6379")
    name = f"cube_test_{secrets.token_hex(4)}"
    url = f"{base.rpartition('/')[0]}/{name}"
    try:
        only = ["--with-database", *without(*APART)]
        return pytest("tests", *only, "-n", WORKERS, CUBE_TEST_DATABASE_URL=url, CUBE_TEST_REDIS_URL=redis)
    finally:
        _drop(base, name)


def _postgres() -> str:
    """A URL whose server lets us in; its database is used only to make and drop our own."""
    import psycopg

    given = os.environ.get("CUBE_TEST_DATABASE_URL", "")
    for url in [given] if given else [f"postgres://{who}127.0.0.1:5432/postgres" for who in POSTGRES_CANDIDATES]:
        try:
            psycopg.connect(url, connect_timeout=2).close()
        except psycopg.Error:
            continue
        return url
    return ""


def _drop(base: str, name: str) -> None:
    """pytest-django drops its databases itself; this is for a run that was cut short."""
    import psycopg
    from psycopg import sql

    with psycopg.connect(base, autocommit=True) as connection:
        found = connection.execute("SELECT datname FROM pg_database WHERE datname LIKE %s", [f"%{name}%"]).fetchall()
        for (database,) in found:
            connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(database)))


def _redis() -> str:
    given = os.environ.get("CUBE_TEST_REDIS_URL", "")
    if given:
        return given
    with socket.socket() as attempt:
        attempt.settimeout(1)
        return "redis://127.0.0.1:6379/15" if attempt.connect_ex(("127.0.0.1", 6379)) == 0 else ""


def devcluster() -> Outcome:
    return pytest("tests/devcluster", "-n", WORKERS) if (ROOT / "tests/devcluster").exists() else skipped("no tests")


def real_cluster() -> Outcome:
    if not os.environ.get("CUBE_TEST_KUBECONFIG"):
        return skipped("no real cluster: set CUBE_TEST_KUBECONFIG to hold its API to the contract too")
    return pytest("tests/contracts")


def journeys() -> Outcome:
    _install_chromium()
    return pytest("tests/journeys")


def _install_chromium() -> None:
    """Debian's Chromium, only where nobody's machine is changed by surprise."""
    wanted = os.environ.get("CI") or os.environ.get("CUBE_INSTALL_CHROMIUM") == "1"
    if shutil.which("chromium") or not wanted or os.geteuid() != 0 or not shutil.which("apt-get"):
        return
    tell("Installing Debian's chromium with apt-get for the browser journeys …")
    call("apt-get", "update", "-qq")
    call("apt-get", "install", "-y", "-qq", "--no-install-recommends", "chromium")


PARTS: dict[str, Callable[[], Outcome]] = {
    "style": style,
    "types": types,
    "imports": imports,
    "migrations": migrations,
    "sqlite": sqlite,
    "postgres": postgres,
    "devcluster": devcluster,
    "real-cluster": real_cluster,
    "journeys": journeys,
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    results: list[tuple[str, Outcome, float]] = []
    for name in parser.parse_args().only:
        tell(f"\n── {name} " + "─" * (70 - len(name)))
        begun = time.monotonic()
        results.append((name, PARTS[name](), time.monotonic() - begun))
        tell(f"{name}: {results[-1][1].state} in {results[-1][2]:.1f} s")
    tell("\n══ summary " + "═" * 63)
    for name, outcome, seconds in results:
        tell(f"{outcome.state:<8} {name:<13} {seconds:6.1f} s  {outcome.note}")
        for detail in outcome.details:
            tell(f"{'':33}{detail}")
    failures = [name for name, outcome, _ in results if outcome.state == "failed"]
    total = sum(seconds for _, _, seconds in results)
    tell(f"{'FAILED: ' + ', '.join(failures) if failures else 'All that could run has passed'} ({total:.0f} s)")
    return 1 if failures else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit("Stopped before the end: nothing has been proved.")
