"""docs/configuration.md and the code name the same variables."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_every_variable_that_settings_read_is_explained_and_no_other():
    read = set()
    for file in [*(ROOT / "cube" / "settings").glob("*.py"), ROOT / "apps" / "portal" / "laptop.py"]:
        read |= set(re.findall(r"env(?:iron)?\.\w+\(\s*\"(CUBE_\w+)\"", file.read_text()))
    explained = set(re.findall(r"^\| `(CUBE_\w+)`", (ROOT / "docs" / "configuration.md").read_text(), re.MULTILINE))

    tests_only = {name for name in explained if name.startswith("CUBE_TEST_")} | {"CUBE_INSTALL_CHROMIUM"}
    assert explained - tests_only == read - tests_only
