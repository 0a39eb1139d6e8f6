# SPDX-License-Identifier: Apache-2.0
"""Hooks of the `models` family: where models come from."""

from collections.abc import Sequence
from typing import Any

from ..markers import hookspec
from ..protocols import Context, ModelSource


@hookspec(firstresult=True)
def model_create(settings: Any, ctx: Context) -> ModelSource:  # type: ignore[empty-body]
    """Return the source; reads nothing yet."""


@hookspec
def model_schemes() -> Sequence[str]:  # type: ignore[empty-body]
    """Return the reference schemes this source resolves, without the colon: `("file",)`."""
