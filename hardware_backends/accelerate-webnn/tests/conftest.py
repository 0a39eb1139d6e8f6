# SPDX-License-Identifier: Apache-2.0
"""The browser with WebNN, installed when it is not here."""

from typing import Any

import pytest
from accelerate_browser.browsers import HEADLESS_SHELL, variable
from accelerate_browser.testing.shell import ensure_headless_shell


@pytest.fixture(scope="module", autouse=True)
def headless_shell() -> Any:
    """Let every host of a module here find the headless shell; other modules find their own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(variable(HEADLESS_SHELL), str(ensure_headless_shell()))
        yield
