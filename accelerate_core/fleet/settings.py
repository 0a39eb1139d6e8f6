# SPDX-License-Identifier: Apache-2.0
"""What configuration says about the fleet, in the machine's units."""

from __future__ import annotations

import attrs

SECOND = 1_000_000_000


@attrs.frozen(kw_only=True)
class FleetSettings:
    """Set how many workers there are, how much may wait, and when a worker is doubted."""

    max_workers: int = 4
    #: Jobs that may wait; one more is refused with Overloaded.
    max_queue: int = 10_000
    #: A worker that answers no heartbeat for this long gets no more jobs, and those it has are
    #: given to another as well.
    suspect_after_ns: int = SECOND // 3
