"""Proves that docs/settings.md lists every setting as it is."""

from __future__ import annotations

from pathlib import Path

from pipeline.settings_table import settings_markdown
from schemas.settings import Settings
from schemas.settings_loader import flat_settings


def test_the_committed_page_is_in_step():
    page = Path(__file__).parents[2] / "docs" / "settings.md"
    assert page.read_text(encoding="utf-8") == settings_markdown(), "run: .venv/bin/python -m pipeline.settings_table > docs/settings.md"


def test_every_setting_has_a_row_with_a_meaning():
    text = settings_markdown()
    for key, _ in flat_settings(Settings()):
        if key not in ("networks", "phases", "encoders"):
            assert f"| `{key}` |" in text
    assert "| `networks.NAME.decimal_comma` | `false` | true, false |" in text
    assert "| `phases.N.epochs` | `1.0` | number, 0.01 to 1,000 |" in text
    rows = [line for line in text.splitlines() if line.startswith("| `")]
    assert all(len(row.split("|")[-2].strip()) > 10 for row in rows)
