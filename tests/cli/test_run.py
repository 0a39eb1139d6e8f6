# SPDX-License-Identifier: Apache-2.0
"""`accel run FILE`: cells, exit codes, interruption, and what a terminal shows."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import pty
import re
import signal
import struct
import subprocess
import termios
from collections.abc import Callable
from pathlib import Path

import pytest

from accelerate_core.cli.interrupts import stoppable
from accelerate_core.cli.output import print_json

Accel = Callable[..., subprocess.CompletedProcess[str]]
Start = Callable[..., subprocess.Popen[str]]
Pipeline = Callable[..., Path]

HEADINGS = ["model", "target", "prec", "batch", "status", "latency", "ms", "error", "device"]

#: A cell that nobody waits for to its end, after one that is quick.
LONG = """targets = ["cpu"]
repeats = 3
[[benchmarks]]
targets = ["cpu"]
batch_sizes = [2, 3]
repeats = 100_000_000
budget = "1h"
"""


def test_runs_a_file_and_prints_json_alone(accel: Accel, pipeline: Pipeline) -> None:
    file = pipeline(head='[[reports]]\nuse = "terminal"\n')
    done = accel("run", file, "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["run"]["name"] == "pipeline"
    assert [one["status"] for one in found["measurements"]] == ["ok"]
    assert found["reports"] == {"terminal": None}
    assert found["problems"] == []
    # The terminal report went where progress goes.
    assert "PASSED 1 ok" in done.stderr


def test_shows_the_table_once_also_when_the_file_asks_for_it(
    accel: Accel, pipeline: Pipeline
) -> None:
    done = accel("run", pipeline(head='[[reports]]\nuse = "terminal"\n'))
    assert done.stdout.count("PASSED 1 ok") == 1


def test_shows_a_plain_table_without_the_report_plugin(accel: Accel, pipeline: Pipeline) -> None:
    file = pipeline('targets = ["cpu", "wasm:safari"]', head='disabled = ["terminal"]')
    done = accel("run", file, COLUMNS="80")
    assert done.returncode == 0, done.stderr
    header, rule, cpu, safari, *rest = done.stdout.splitlines()
    assert header.split() == HEADINGS
    assert set(rule) == {"─"}
    assert cpu.split()[:5] == ["tiny", "cpu", "fp32", "1", "ok"]
    assert safari.split()[:5] == ["tiny", "wasm:safari", "fp32", "1", "missing"]
    assert "safari exists only on macOS" in rest[0]


def test_a_dry_run_shows_the_cells_and_starts_nothing(
    accel: Accel, pipeline: Pipeline, tmp_path: Path
) -> None:
    targets = 'targets = ["cpu", "wasm:safari", "webgpu:safari"]'
    file = pipeline(targets, head='[store]\nuse = "duckdb"')
    done = accel("run", file, "--dry-run")
    assert done.returncode == 0, done.stderr
    assert re.search(r"cpu +tiny +fp32 +1 +- +ready", done.stdout)
    assert re.search(r"wasm:safari +tiny +fp32 +1 +- +missing", done.stdout)
    assert "wasm:safari, webgpu:safari: safari exists only on macOS" in done.stdout
    assert "1 of 3 cells can be measured here." in done.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["pipeline.toml"]


def test_a_dry_run_fails_for_what_is_required(accel: Accel, pipeline: Pipeline) -> None:
    file = pipeline('targets = ["cpu", "wasm:safari"]\nrequired = ["wasm:safari"]')
    done = accel("run", file, "--dry-run", "--json")
    assert done.returncode == 1
    cells = json.loads(done.stdout)
    assert [one["is_required"] for one in cells] == [False, True]
    assert cells[0]["missing"] is None
    assert cells[1]["missing"]["kind"] == "BackendUnavailable"
    with_fallback = pipeline(
        'targets = ["wasm:safari"]\nrequired = ["wasm:safari"]\nfallback = ["cpu"]'
    )
    assert accel("run", with_fallback, "--dry-run").returncode == 0


def test_only_keeps_the_cells_that_match(accel: Accel, pipeline: Pipeline) -> None:
    file = pipeline('targets = ["cpu", "wasm:safari"]\nbatch_sizes = [1, 2]\nrepeats = 3')
    done = accel("run", file, "--only", "cpu fp32 batch 2", "--json")
    cells = [one["cell"] for one in json.loads(done.stdout)["measurements"]]
    assert [(one["target"], one["batch_size"]) for one in cells] == [("cpu", 2)]
    refused = accel("run", file, "--only", "firefox")
    assert refused.returncode == 2
    assert "no cell matches firefox" in refused.stderr


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[[benchmarks", "not valid TOML"),
        ('nmae = "x"', "hint: Did you mean 'name'?"),
        ('[pool]\nscheduler = "afinity"\n', "no scheduler is called 'afinity'"),
        ("[backends.cpu]\nthreds = 2\n", "Did you mean 'threads'?"),
        ('[[reports]]\nuse = "html"\npth = "x"\n', "Did you mean 'path'?"),
        ('[store]\nuse = "duckdb"\npath = 3\n', "where a string is expected"),
        ("[pool]\nparallel_loading = true\n", "parallel_loading is not built yet"),
    ],
)
def test_a_faulty_file_is_refused_before_anything_starts(
    accel: Accel, pipeline: Pipeline, tmp_path: Path, text: str, told: str
) -> None:
    done = accel("run", pipeline(head=text))
    assert done.returncode == (1 if "not built" in told else 2)
    assert told in done.stderr
    assert "where: " in done.stderr and "pipeline.toml" in done.stderr
    assert done.stdout == ""
    assert [path.name for path in tmp_path.iterdir()] == ["pipeline.toml"]


def test_a_file_that_is_not_there(accel: Accel) -> None:
    done = accel("run", "gone.toml")
    assert done.returncode == 2
    assert done.stderr.splitlines()[:2] == ["error: no such file", "  where: gone.toml"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_keeps_what_was_measured(
    accel: Accel, start: Start, pipeline: Pipeline, tmp_path: Path, number: signal.Signals
) -> None:
    process = start("run", pipeline(LONG, head='[store]\nuse = "duckdb"'), "--json")
    assert process.stderr is not None
    # The first cell is stored, the second has begun.
    for line in process.stderr:
        if line.startswith("[2/3] tiny"):
            break
    process.send_signal(number)
    stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 130, stderr
    assert "Stopping: what was measured is kept." in stderr
    assert "Interrupted: 1 of 3 cells measured." in stderr
    found = json.loads(stdout)
    assert found["run"]["is_interrupted"]
    assert [one["status"] for one in found["measurements"]] == ["ok", "skipped", "skipped"]
    stored = json.loads(accel("report", "--json").stdout)
    assert [one["id"] for one in stored["measurements"]] == [
        one["id"] for one in found["measurements"]
    ]
    assert not list(tmp_path.glob("*.wal"))


async def test_the_second_interrupt_cancels() -> None:
    told: list[str] = []
    seen = asyncio.Event()

    async def stubborn(stop: asyncio.Event) -> None:
        await stop.wait()
        seen.set()
        await asyncio.sleep(60)

    async def interrupt() -> None:
        os.kill(os.getpid(), signal.SIGINT)
        await seen.wait()
        os.kill(os.getpid(), signal.SIGINT)

    before = signal.getsignal(signal.SIGTERM)
    task = asyncio.create_task(stoppable(stubborn, told.append))
    await asyncio.sleep(0)
    await interrupt()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(task, 10)
    assert told == [
        "Stopping: what was measured is kept. Ctrl-C again to cancel at once.",
        "Cancelling.",
    ]
    assert signal.getsignal(signal.SIGTERM) is before


def on_a_terminal(start: Start, *words: object, **variables: str) -> str:
    """Return what a terminal of 80 columns is sent."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    variables = {"TERM": "xterm-256color"} | variables
    process = start(*words, stdout=theirs, stderr=theirs, stdin=theirs, variables=variables)
    os.close(theirs)
    sent = b""
    while True:
        try:
            data = os.read(ours, 1 << 16)
        except OSError:  # Linux says so when the other side is closed
            break
        if not data:
            break
        sent += data
    os.close(ours)
    assert process.wait(30) == 0
    return sent.decode()


COLOUR = re.compile(r"\x1b\[[0-9;]*3[0-9][0-9;]*m")
CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def test_a_terminal_shows_phases_and_fits(start: Start, pipeline: Pipeline) -> None:
    file = pipeline('targets = ["cpu"]\nbatch_sizes = [1, 2]\nrepeats = 3\n')
    sent = on_a_terminal(start, "run", file)
    shown = CONTROL.sub("", sent)
    assert "reference 0:0" in shown or "load 0:0" in shown or "model 0:0" in shown
    assert "1/2 cells" in shown
    assert shown.count("ok       tiny on cpu fp32 batch 2") == 1
    assert "PASSED 2 ok" in shown
    assert max(map(len, re.split(r"[\r\n]+", shown))) <= 80
    assert COLOUR.search(sent)
    # The cursor is back.
    assert sent.rfind("\x1b[?25h") > sent.rfind("\x1b[?25l")


def test_no_color_is_respected(start: Start, pipeline: Pipeline) -> None:
    sent = on_a_terminal(start, "run", pipeline(), "--dry-run", NO_COLOR="1")
    assert "1 of 1 cells" in CONTROL.sub("", sent)
    assert not COLOUR.search(sent)


def test_json_knows_no_nan(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"a": [float("nan"), float("-inf"), 1.5]})
    assert json.loads(capsys.readouterr().out) == {"a": ["nan", "-inf", 1.5]}
