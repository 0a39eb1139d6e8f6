# SPDX-License-Identifier: Apache-2.0
"""Wait in tests for what will be, instead of for some time."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable

_EVERY_S = 0.005


async def until(
    condition: Callable[[], bool] | Callable[[], Awaitable[bool]], within_s: float = 10.0
) -> None:
    """Return once a condition holds; TimeoutError when it does not within so many seconds."""
    async with asyncio.timeout(within_s):
        while True:
            holds = condition()
            if await holds if inspect.isawaitable(holds) else holds:
                return
            await asyncio.sleep(_EVERY_S)
