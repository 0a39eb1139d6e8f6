# SPDX-License-Identifier: Apache-2.0
"""The terminal report: what fits, what is never cut, what is marked."""

from __future__ import annotations

import io
import os
import pickle
import re
import subprocess
import sys
from pathlib import Path

import pytest
from accelerate_reports.columns import short
from accelerate_reports.rows import UNKNOWN
from accelerate_reports.to_terminal import ResultTable, TerminalReport, row_cells
from rich.console import Console
from rich.live import Live

from accelerate_core.types import RunSummary

from . import samples

SUMMARIES = {
    "good": samples.summary(*samples.good()),
    "everything": samples.everything(),
    "large": samples.large(30),
    "one": samples.summary(samples.measurement()),
    "none": samples.summary(),
}


def shown(
    summary: RunSummary,
    width: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> str:
    monkeypatch.setenv("COLUMNS", str(width))
    TerminalReport().write(summary)
    return capsys.readouterr().out


@pytest.mark.parametrize("name", SUMMARIES)
@pytest.mark.parametrize("width", [100, 80])
def test_it_fits_and_cuts_no_number(
    name: str, width: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    summary = SUMMARIES[name]
    text = shown(summary, width, monkeypatch, capsys)
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text
    words = re.findall(r"\S+", text)
    for one in summary.measurements:
        if one.latency_ms:
            assert short(one.latency_ms) in words
            assert str(len(one.samples_ms)) in words


def test_a_log_gets_every_column_and_whole_lines(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    TerminalReport().write(SUMMARIES["good"])
    lines = capsys.readouterr().out.splitlines()
    headings = next(line for line in lines if "latency" in line)
    assert "load" in headings and "memory" in headings and "p95" in headings
    assert all(line == line.rstrip() for line in lines)
    assert any(len(line) > 100 for line in lines)


def test_it_tells_the_truth(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = shown(samples.everything(), 100, monkeypatch, capsys)
    lines = text.splitlines()
    assert any("fake" in line and "SIMULATED" in line for line in lines)
    assert sum("webgpu" in line and " software " in line for line in lines) == 3
    assert "webgpu:edge -> cpu" in text
    assert "webgpu:chrome missing, required" in text
    assert "accel browsers install edge" in text
    assert "relative L2 0.24 is over the tolerance 0.001" in text
    assert "FAILED 9 ok, 1 mismatch, 2 failed, 2 missing, 1 skipped in 34.1 s" in text
    assert "interrupted" in text
    assert "[bold]" in text  # a model's name, not markup
    assert "\x1b" not in text and "\x00" not in text


def test_what_all_rows_share_is_said_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = shown(SUMMARIES["good"], 100, monkeypatch, capsys)
    assert text.count("minilm") == 1
    assert shown(SUMMARIES["large"], 100, monkeypatch, capsys).count("batch") == 1


def in_a_fresh_interpreter(**environment: str) -> bytes:
    code = (
        "from accelerate_reports.to_terminal import TerminalReport; import pickle, sys;"
        "TerminalReport().write(pickle.load(sys.stdin.buffer))"
    )
    inherited = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        input=pickle.dumps(samples.everything()),
        capture_output=True,
        env={**inherited, **environment},
        check=True,
    )
    return done.stdout


def test_no_color_is_respected() -> None:
    colour = re.compile(rb"\x1b\[(?:\d;)?3\d")
    forced = {"FORCE_COLOR": "1", "TERM": "xterm-256color"}
    assert colour.search(in_a_fresh_interpreter(**forced))
    assert not colour.search(in_a_fresh_interpreter(**forced, NO_COLOR="1"))


def test_a_terminal_that_knows_only_ascii_ends_nothing() -> None:
    assert b"FAILED 9 ok" in in_a_fresh_interpreter(PYTHONIOENCODING="ascii")


def test_a_table_grows_while_the_run_goes_on() -> None:
    summary = SUMMARIES["good"]
    file = io.StringIO()
    console = Console(file=file, width=100, force_terminal=True)
    table = ResultTable(one.cell for one in summary.measurements)
    with Live(table, console=console, auto_refresh=False) as live:
        for number, one in enumerate(summary.measurements, start=1):
            table.add(one)
            live.refresh()
            assert table.table().row_count == number
    assert "5,522" in file.getvalue()
    # The title comes from the cells to come, not from the first row alone.
    assert ResultTable(one.cell for one in samples.large().measurements).table().title == (
        "fp32, 32 tokens"
    )


def test_row_cells_gives_one_styled_text_per_column() -> None:
    names = ("target", "status", "device", "latency")
    texts = row_cells(samples.missing("webgpu:edge"), names)
    assert [text.plain for text in texts] == ["webgpu:edge", "missing", UNKNOWN, UNKNOWN]
    assert {str(text.style) for text in texts} == {"dim"}
    required = row_cells(samples.missing("webgpu:edge", is_required=True), names)
    assert str(required[1].style) == "bold red"


def test_importing_is_light() -> None:
    """What no report needs before it writes is not imported; checked in a fresh interpreter."""
    folder = Path(__file__).parents[1] / "src" / "accelerate_reports"
    modules = [f"accelerate_reports.{path.stem}" for path in folder.glob("*.py")]
    code = (
        f"import sys, importlib; [importlib.import_module(name) for name in {modules}];"
        "print(sorted({'rich', 'jinja2', 'vl_convert', 'numpy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
