# SPDX-License-Identifier: Apache-2.0
"""Real browsers. One that is expected here and does not start fails the test."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from accelerate_browser.browsers import HEADLESS_SHELL, variable
from accelerate_browser.testing.shell import ensure_headless_shell
from accelerate_browser.worker import BrowserWorker

from accelerate_core.protocols import Backend, Context
from accelerate_core.types import Target


@pytest.fixture(scope="module", autouse=True)
def headless_shell() -> Any:
    """Let every host of a module here find the headless shell; other modules find their own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(variable(HEADLESS_SHELL), str(ensure_headless_shell()))
        yield


Start = Callable[..., Awaitable[BrowserWorker]]


@pytest.fixture
async def start(context: Context) -> AsyncIterator[Start]:
    """Return a function that starts a target; all it started is closed after the test."""
    async with contextlib.AsyncExitStack() as stack:
        backends: dict[str, Backend] = {}

        async def start(text: str, **settings: Any) -> BrowserWorker:
            target = Target.parse(text)
            if target.backend not in backends or settings:
                backend = context.plugins.create("backends", target.backend, settings)
                stack.push_async_callback(backend.close)
                backends[target.backend] = backend
            worker = await backends[target.backend].start(target, context)
            stack.push_async_callback(worker.close)
            assert isinstance(worker, BrowserWorker)
            return worker

        yield start
