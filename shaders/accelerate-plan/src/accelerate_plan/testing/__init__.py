# SPDX-License-Identifier: Apache-2.0
"""The conformance kit of kernels: every case of every variant, on any worker, against fp64.

class TestMine(KernelContract):
    plugin = "mine"
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .contract import KernelContract

__all__ = ["KernelContract"]


def __getattr__(name: str) -> Any:
    # Lazy: cases are read by the tuner, too, which has no pytest.
    if name == "KernelContract":
        from .contract import KernelContract

        return KernelContract
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
