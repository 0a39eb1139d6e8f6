# SPDX-License-Identifier: Apache-2.0
"""State that stays on workers between runs, and is brought elsewhere when one is lost."""

from __future__ import annotations

from .kept import Keeper, Sessions

__all__ = ["Keeper", "Sessions"]
