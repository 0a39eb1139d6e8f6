# SPDX-License-Identifier: Apache-2.0
"""The strategy that docs/recovery.md shows works, and is as short as promised."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from accelerate_core.protocols import Context, Recovery
from accelerate_core.testing import RecoveryContract

PAGE = Path(__file__).parents[3] / "docs/recovery.md"


def shown() -> tuple[str, Any]:
    """Return the example's text, and the plugin it defines."""
    (text,) = re.findall(r"^```python run\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    names: dict[str, Any] = {}
    exec(compile(text, str(PAGE), "exec", dont_inherit=True), names)
    return text, names["Thrifty"]


class TestShown(RecoveryContract):
    @pytest.fixture
    def recovery(self, context: Context) -> Recovery:
        strategy: Recovery = shown()[1]().recovery_create(None, context)
        return strategy


def test_a_strategy_takes_no_more_than_fifteen_lines() -> None:
    text, _ = shown()
    assert len([line for line in text.splitlines() if line.strip()]) <= 15
