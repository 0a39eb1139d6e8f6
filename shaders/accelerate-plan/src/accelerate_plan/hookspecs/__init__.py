# SPDX-License-Identifier: Apache-2.0
"""The hook family this distribution opens: kernels, from any distribution."""

from accelerate_core.hookspecs import Family

KERNELS = Family(
    "kernels",
    "accelerate_plan.kernels",
    "accelerate_plan.hookspecs.kernel",
    "kernel_sources",
    "kernel source",
)

__all__ = ["KERNELS"]
