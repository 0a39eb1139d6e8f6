# SPDX-License-Identifier: Apache-2.0
"""Ctrl-C at any moment of `accel chaos`: what was seen is printed, and nothing stays behind."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

ROW = ("--browser", "chromium-headless-shell", "--requests", "2000", "--rate", "20", "--json")


def _left(state: Path) -> list[str]:
    """Return what runs with this state folder: browsers, stopped ones, helpers, coordinators."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            words = [*process.cmdline(), *process.environ().values()]
            if any(str(state) in word for word in words):
                found.append(f"{process.pid} {process.name()} {process.status()}")
    return found


@pytest.mark.parametrize(
    ("scenario", "moment", "presses"),
    [
        ("renderer_hang", "[1/1]", 1),  # the fleet starts
        ("renderer_hang", "in state T", 1),
        ("cpu_throttling", "busy processes", 2),  # cancelled at once
        ("host_crash", "ended with -9", 1),  # the killed one's browsers are orphans
    ],
)
def test_ctrl_c_leaves_nothing(scenario: str, moment: str, presses: int, tmp_path: Path) -> None:
    state = tmp_path / "state"
    accel = Path(sys.executable).with_name("accel")
    process = subprocess.Popen(
        [accel, "chaos", scenario, *ROW, "--every", "2", "--workers", "2"],
        env={**os.environ, "ACCELERATE_STATE_DIR": str(state)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    try:
        for line in process.stderr:
            if moment in line:
                break
        for _ in range(presses):
            process.send_signal(signal.SIGINT)
        printed, said = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130
    assert _left(state) == [], said
    assert not [*Path("/tmp").glob(f"accelerate-{process.pid:x}-*"), *state.glob("launches/*")]
    if presses == 1:
        (row,) = json.loads(printed)
        assert row["scenario"] == scenario and row["is_interrupted"]
