"""One scenario in a process and a database of its own: `python -m tests.bench.schedules.scenario S2 <folder>`."""

import os
import sys
from dataclasses import asdict
from pathlib import Path

import django
import orjson


def main(name: str, folder: str) -> None:
    os.environ["DJANGO_SETTINGS_MODULE"] = "tests.bench.schedules.settings"
    django.setup()
    from tests.bench.schedules import beside, exact, kills, speed

    modules = (beside, exact, kills, speed)
    (scenario,) = (getattr(module, name.lower()) for module in modules if hasattr(module, name.lower()))
    rows = scenario(Path(folder))
    (Path(folder) / "rows.json").write_bytes(orjson.dumps([asdict(row) for row in rows]))


if __name__ == "__main__":
    main(*sys.argv[1:])
