# SPDX-License-Identifier: Apache-2.0
"""The pytest plugin `accelerate_chaos`: the fixture `chaos`. Imports nothing heavy."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from ..records import Row


@pytest.fixture
def chaos(tmp_path: Path) -> Callable[..., Row]:
    """Return a function that runs a scenario on real browsers and returns what happened.

    `chaos("browser_crash", model="file:mine.onnx", requests=20)`: arguments are those of
    `accel chaos`, with `strategies` and `browsers` as tuples of one. Call it from a test that is
    not asynchronous.
    """

    def run(scenario: str, **wanted: Any) -> Row:
        import asyncio

        from accelerate_core.host import Host

        from ..campaign import Wanted, one

        host = Host(state_dir=tmp_path / "chaos")
        return asyncio.run(one(host, Wanted(scenario=scenario, **wanted)))

    return run
