# SPDX-License-Identifier: Apache-2.0
"""An append-only log of accepted jobs and their answers, which outlives the process.

`frames` (pure: bytes to records and back), `ledger` (pure: what of it is still needed), `log` (the
file, its thread and its fsync), `folder` (whose file it is, and who takes over a dead owner's).
"""

from .folder import open_journal
from .frames import Record
from .log import Journal

__all__ = ["Journal", "Record", "open_journal"]
