# SPDX-License-Identifier: Apache-2.0
"""Requests of several models at once: no more than may wait, refused ones again."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from .calls import AsyncModel, Response, Terms
from .errors import AccelerateError, Overloaded


async def answers(
    calls: Sequence[tuple[AsyncModel, Any]],
    terms: Terms,
    *,
    room: int,
    timeout_s: float,
    return_exceptions: bool,
) -> list[Any]:
    """Return the answers of (model, inputs) pairs in their order, `room` submitted at a time.

    With `return_exceptions` an error stands where its answer would; otherwise the first one
    cancels the rest and is raised.
    """
    places = asyncio.Semaphore(room)

    async def call(model: AsyncModel, inputs: Any) -> Any:
        async with places:
            try:
                return (await _admitted(model, inputs, terms, timeout_s)).answer
            except AccelerateError as error:
                if return_exceptions:
                    return error
                raise

    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(call(model, inputs)) for model, inputs in calls]
    except BaseExceptionGroup as several:
        # What the caller knows how to handle is the error itself.
        raise several.exceptions[0] from None
    return [task.result() for task in tasks]


async def _admitted(model: AsyncModel, inputs: Any, terms: Terms, timeout_s: float) -> Response:
    """Run a request, and again when it was refused for want of room, until its timeout."""
    loop = asyncio.get_running_loop()
    ends = loop.time() + timeout_s
    while True:
        try:
            return await model.request(inputs, terms)
        except Overloaded as error:
            wait_s = error.info.retry_after or 0.1
            if loop.time() + wait_s > ends:
                raise
            await asyncio.sleep(wait_s)
