# SPDX-License-Identifier: Apache-2.0
"""What happens on a page unasked, as the events of a worker. Pure."""

from __future__ import annotations

from accelerate_core.errors import WorkerLost
from accelerate_core.types import WorkerEvent, WorkerEventKind

from .messages import Notice


def noticed(notice: Notice) -> WorkerEvent:
    """Return the event of a page's notice; one of a kind unknown here is a log line."""
    try:
        kind = WorkerEventKind(notice.event)
    except ValueError:
        kind = WorkerEventKind.LOG
    return WorkerEvent(kind=kind, message=notice.message, data=dict(notice.data))


def silence(silent_ms: float | None) -> WorkerEvent:
    """Return the event of a page that is silent for so long, or heard again for None."""
    if silent_ms is None:
        return WorkerEvent(kind=WorkerEventKind.HEARD)
    return WorkerEvent(kind=WorkerEventKind.SILENT, data={"silent_ms": silent_ms})


def loss(error: WorkerLost) -> WorkerEvent:
    """Return the event of a page that is gone."""
    data = {"reason": error.info.reason}
    return WorkerEvent(kind=WorkerEventKind.LOST, message=str(error), data=data)
