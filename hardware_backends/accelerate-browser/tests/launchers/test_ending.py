# SPDX-License-Identifier: Apache-2.0
"""Processes that end while they are being ended: how they did is not lost."""

from __future__ import annotations

import asyncio
import os
import signal
import time

import pytest
from accelerate_browser import processes


async def test_a_child_that_just_died_keeps_its_exit_status(
    caplog: pytest.LogCaptureFixture,
) -> None:
    for number in range(60):
        child = await asyncio.create_subprocess_exec("sleep", "60", start_new_session=True)
        os.kill(child.pid, signal.SIGKILL)
        time.sleep(0.002 * (number % 2))  # noqa: ASYNC251  (the event loop must not hear of it)
        processes.end(child, kill=number % 3 > 0)
        assert await child.wait() == -signal.SIGKILL
    assert not caplog.records


async def test_a_child_is_asked_or_killed() -> None:
    for is_killed, expected in ((False, signal.SIGTERM), (True, signal.SIGKILL)):
        child = await asyncio.create_subprocess_exec("sleep", "60", start_new_session=True)
        processes.end(child, kill=is_killed)
        assert await child.wait() == -expected
        processes.end(child, kill=True)  # it is gone, and its number may be another's
