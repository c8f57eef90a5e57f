#!/usr/bin/env python
"""Cube's command line. `manage.py up` runs everything on this machine."""

import os
import sys

if sys.version_info < (3, 11):  # noqa: UP036  Said here because every later import would fail less kindly.
    sys.exit("Cube needs Python 3.11 or newer; this is " + sys.version.split()[0] + ". Try: make up PYTHON=python3.12")


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "cube.settings.base")
    from django.core.management import execute_from_command_line

    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
