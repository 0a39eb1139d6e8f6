# SPDX-License-Identifier: Apache-2.0
"""Ctrl-C: once ends cleanly, twice cancels."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, TypeVar

T = TypeVar("T")

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


async def stoppable(
    work: Callable[[asyncio.Event], Coroutine[Any, Any, T]], say: Callable[[str], None]
) -> T:
    """Return the answer of `work(stop)`; SIGINT or SIGTERM sets `stop`, a second one cancels.

    CancelledError after the second.
    """
    stop = asyncio.Event()
    task = asyncio.ensure_future(work(stop))

    def interrupt() -> None:
        if not stop.is_set():
            stop.set()
            say("Stopping: what was measured is kept. Ctrl-C again to cancel at once.")
        else:
            say("Cancelling.")
            task.cancel()

    with _handling(interrupt):
        return await task


@contextlib.contextmanager
def _handling(interrupt: Callable[[], None]) -> Iterator[None]:
    loop = asyncio.get_running_loop()
    try:
        for number in _SIGNALS:
            loop.add_signal_handler(number, interrupt)
    except NotImplementedError:  # Windows
        before = signal.signal(
            signal.SIGINT, lambda _number, _frame: loop.call_soon_threadsafe(interrupt)
        )
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)
        return
    try:
        yield
    finally:
        for number in _SIGNALS:
            loop.remove_signal_handler(number)
