# SPDX-License-Identifier: Apache-2.0
"""The report shows what rows say, escapes what came from outside, and its pictures are pictures."""

from __future__ import annotations

from pathlib import Path

import pytest
from accelerate_chaos.checker import Finding, Rule
from accelerate_chaos.plots import plots
from accelerate_chaos.report import write

from accelerate_core.errors import StoreError

from . import values

ROWS = (
    values.row(),
    values.row(strategy="retry", errors=3),
    values.row("renderer_hang", findings=(Finding(Rule.WRONG, "r<1>"),)),
    values.row("device_lost", reason="wasm holds <no> GPU device"),
)


def test_a_report_and_a_png_of_every_picture(tmp_path: Path) -> None:
    page, *pictures = write(tmp_path / "chaos.html", ROWS)
    names = [path.name for path in pictures]
    assert names == [f"chaos-{name}.png" for name in ("heat", "recovery", "success", "timeline")]
    for path in pictures:
        assert path.read_bytes().startswith(b"\x89PNG") and path.stat().st_size > 5000
    text = page.read_text()
    assert text.count("<svg") == 4 and "<script" not in text
    assert "wasm holds &lt;no&gt; GPU device" in text and "r&lt;1&gt;" in text
    assert "7 / 10" in text and "JobTimeout" in text and "BROKEN" in text


def test_the_heat_map_says_what_each_pair_came_to() -> None:
    heat = plots(ROWS)[0]
    cells = {(one["scenario"], one["strategy"]): one["text"] for one in heat.spec["data"]["values"]}
    assert cells["browser_crash", "immediate"] == "100% · 90 ms"
    assert cells["browser_crash", "retry"].startswith("70%")
    assert cells["renderer_hang", "immediate"].startswith("BROKEN")
    assert cells["device_lost", "immediate"] == "n/a"


def test_nothing_is_drawn_of_what_did_not_run() -> None:
    assert [plot.id for plot in plots(ROWS[3:])] == ["heat"]
    assert plots(()) == ()


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="cannot be written"):
        write(tmp_path / "nowhere" / "chaos.html", ROWS)
