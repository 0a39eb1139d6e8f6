# SPDX-License-Identifier: Apache-2.0
"""The hook family that this distribution opens: what can go wrong with a worker."""

from accelerate_core.hookspecs import Family

FAULTS = Family(
    "faults",
    "accelerate_chaos.faults",
    "accelerate_chaos.hookspecs.fault",
    "fault_create",
    "fault",
    provides=("obstacle", "inject", "lift"),
)

__all__ = ["FAULTS"]
