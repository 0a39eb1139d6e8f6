# SPDX-License-Identifier: Apache-2.0
"""`accel top`, from another terminal than what it shows."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .conftest import TINY, Done

PIPELINE = f"""
[backends.fake]
latency_ms = 100
[[models]]
name = "tiny"
source = "file:{TINY}"
[[benchmarks]]
targets = ["fake"]
repeats = 600
budget = "60s"
"""


def test_nothing_runs(accel: Callable[..., Done]) -> None:
    assert "Nothing runs here" in accel("top").stdout
    assert json.loads(accel("top", "--json").stdout) == []


def test_a_run_is_seen_from_another_terminal_until_it_ends(
    start: Callable[..., Any], accel: Callable[..., Done], tmp_path: Path
) -> None:
    (tmp_path / "slow.toml").write_text(PIPELINE)
    run = start("run", "slow.toml")
    deadline = time.monotonic() + 60
    seen: list[Any] = []
    while not (seen and seen[0]["jobs"]["answered"] > 2) and time.monotonic() < deadline:
        time.sleep(0.2)
        seen = json.loads(accel("top", "--json").stdout)
    (one,) = seen
    assert (one["name"], one["pid"], one["health"]["status"]) == ("slow", run.pid, "healthy")
    (worker,) = (each for each in one["health"]["workers"] if each["target"] == "fake")
    assert worker["models"] == ["tiny"]
    view, terminal = pty.openpty()
    top = start("top", stdout=terminal, stderr=terminal, variables={"COLUMNS": "80"})
    os.close(terminal)
    shown = b""
    while b"fake-1" not in shown and time.monotonic() < deadline:
        shown += os.read(view, 4096)
    assert re.search(rb"slow.*pid %d" % run.pid, shown) and b"healthy" in shown
    top.send_signal(signal.SIGINT)
    assert top.wait(20) == 0
    os.close(view)
    run.send_signal(signal.SIGINT)
    run.communicate(timeout=60)
    assert json.loads(accel("top", "--json").stdout) == []
