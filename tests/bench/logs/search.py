"""`python -m tests.bench.logs.search JOB NEEDLE`: how long the first page of a search takes, as JSON, in milliseconds.

In the order of the streams, through the store's reading API and its filters; beside it grep (ripgrep where there is
one) for the same on the same bytes, uncompressed in one new file.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from itertools import islice
from pathlib import Path
from typing import Any

import orjson

PAGE = 100
COMMON = "loss 0.86"  # one line in a hundred
COMMON_PATTERN = r"loss 0\.8[67][0-9]+ lr .*e-03"


def first_page(streams: list[Any], needle: Any) -> tuple[float, int]:
    """(milliseconds, lines found)."""
    from apps.logs import selectors, store

    begun = time.monotonic()
    found = 0
    for source in selectors.sources_of(streams):
        found += sum(1 for _ in islice(store.scan(source, needle), PAGE - found))
        if found >= PAGE:
            break
    return 1000 * (time.monotonic() - begun), found


def dump(streams: list[Any], path: Path) -> None:
    from apps.logs import selectors, store

    with path.open("wb") as file:
        for source in selectors.sources_of(streams):
            file.writelines(b"%s %s\n" % (line.stamp, line.text) for line in store.iterate(source))


def grep(path: Path, *options: str) -> str:
    program = shutil.which("rg") or shutil.which("grep") or ""
    begun = time.monotonic()
    command = [program, "-a", f"--max-count={PAGE}", *options, str(path)]
    subprocess.run(command, stdout=subprocess.DEVNULL, check=False, env={"LC_ALL": "C"})  # noqa: S603
    return f"{Path(program).name} {1000 * (time.monotonic() - begun):.0f} ms"


def main(uid: str, rare: str) -> dict[str, Any]:
    from apps.jobs.models import Job
    from apps.logs import selectors
    from apps.logs.needle import Needle

    streams = selectors.streams_of(Job.objects.get(uid=uid).pk)
    pattern = rare[:-4] + r"[0-9a-f]{4}"
    needles = {
        "rare": Needle(rare),
        "rare_regex": Needle(pattern, regex=True),
        "common": Needle(COMMON),
        "common_regex": Needle(COMMON_PATTERN, regex=True),
    }
    told: dict[str, Any] = {"page": PAGE, "found": {}, "grep": {}}
    for name, needle in needles.items():
        told[name], told["found"][name] = first_page(streams, needle)
    with tempfile.TemporaryDirectory(prefix="cube-bench-") as folder:
        path = Path(folder) / "lines"
        dump(streams, path)
        told["grep"] = {
            "rare": grep(path, "-F", "-i", rare),
            "rare_regex": grep(path, "-E", "-i", pattern),
            "common": grep(path, "-F", "-i", COMMON),
            "common_regex": grep(path, "-E", "-i", COMMON_PATTERN),
        }
    return told


if __name__ == "__main__":
    os.environ["DJANGO_SETTINGS_MODULE"] = "cube.settings.base"
    import django

    django.setup()
    sys.stdout.buffer.write(orjson.dumps(main(*sys.argv[1:3])))
