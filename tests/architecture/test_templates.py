"""The pages keep the content security policy, and draw only icons that are shipped."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TEMPLATES = sorted([*ROOT.glob("cube/templates/**/*.html"), *ROOT.glob("apps/*/templates/**/*.html")])

INLINE_SCRIPT = re.compile(r"<script(?![^>]*\b(?:src|nonce)=)", re.IGNORECASE)
INLINE_STYLE = re.compile(r"<style\b|\sstyle=", re.IGNORECASE)
INLINE_HANDLER = re.compile(r"<[^>]*\s(?:on[a-z]+|hx-on[\w:-]*)\s*=", re.IGNORECASE)
ICON_USE = re.compile(r'components/icon\.html" with name="([\w-]+)"')


def shipped_icons() -> set[str]:
    source = (ROOT / "static/vendor.mjs").read_text()
    names = re.search(r"ICONS = `(.*?)`", source, re.DOTALL)[1].split()
    statuses = re.search(r"STATUS_ICONS = \{(.*?)\}", source, re.DOTALL)[1]
    return {*names, *(f"status-{status}" for status in re.findall(r"(\w+):", statuses))}


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: str(path.relative_to(ROOT)))
class TestTemplate:
    @pytest.mark.parametrize("pattern", [INLINE_SCRIPT, INLINE_STYLE, INLINE_HANDLER])
    def test_has_nothing_inline_that_the_policy_refuses(self, template, pattern):
        assert pattern.search(template.read_text()) is None

    def test_draws_only_shipped_icons(self, template):
        assert set(ICON_USE.findall(template.read_text())) <= shipped_icons()
