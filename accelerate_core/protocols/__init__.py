# SPDX-License-Identifier: Apache-2.0
"""The typed objects plugins hand over. From then on the core calls these, not hooks.

Backend and Worker are asynchronous; Scheduler and Recovery are synchronous and pure; ModelSource,
Processor, Store, Report and Connector are synchronous and run in threads. Each has a base class
here with defaults; what a plugin leaves out raises `Unsupported`.
"""

from typing import TYPE_CHECKING

from .context import Context, DoctorCheck, DoctorFinding, Plugins
from .deciding import ModelSource, Processor, Recovery, Scheduler
from .executing import Backend, SessionId, Worker
from .keeping import Migration, Records, Store, Table, TableSet, Transaction
from .telling import Analysis, Connector, Receipt, Report

if TYPE_CHECKING:
    from .executing import Inputs as Inputs

__all__ = [
    "Analysis",
    "Backend",
    "Connector",
    "Context",
    "DoctorCheck",
    "DoctorFinding",
    "Migration",
    "ModelSource",
    "Plugins",
    "Processor",
    "Receipt",
    "Records",
    "Recovery",
    "Report",
    "Scheduler",
    "SessionId",
    "Store",
    "Table",
    "TableSet",
    "Transaction",
    "Worker",
]
