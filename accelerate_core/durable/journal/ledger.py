# SPDX-License-Identifier: Apache-2.0
"""What a journal says: which jobs are open, which have an answer, and what is dead. Pure."""

from __future__ import annotations

import attrs

from .frames import Record, Span, What


@attrs.define
class Entry:
    """One job that is not forgotten."""

    accepted: Span | None = None
    outcome: Span | None = None
    #: Values that the two refer to.
    accepted_value: str = ""
    outcome_value: str = ""

    @property
    def live(self) -> Span:
        """The one record that is still needed: once there is an answer, the inputs are not."""
        span = self.outcome or self.accepted
        assert span is not None
        return span

    @property
    def value(self) -> str:
        """The value that the needed record refers to."""
        return self.outcome_value if self.outcome else self.accepted_value


class Ledger:
    """Follow the records of one journal; the first answer to a job is the one that counts."""

    def __init__(self) -> None:
        self.jobs: dict[str, Entry] = {}
        self.values: dict[str, Span] = {}
        #: Bytes of the records that are needed.
        self.live_bytes = 0

    def takes(self, record: Record) -> bool:
        """Whether a record may be written: a job once, one answer to it, nothing afterwards."""
        entry = self.jobs.get(record.job)
        match record.what:
            case What.VALUE:
                return record.value not in self.values
            case What.ACCEPTED:
                return entry is None
            case What.FORGOTTEN:
                return entry is not None
        return entry is not None and entry.outcome is None

    def add(self, record: Record, span: Span) -> None:
        """Take note of a record that lies at `span`.

        An answer whose job is not there stands for it: compaction leaves the answer alone.
        """
        if record.what is What.VALUE:
            if self.values.setdefault(record.value, span) is span:
                self.live_bytes += span.size
            return
        before = self.jobs.get(record.job)
        self.live_bytes -= before.live.size if before else 0
        if record.what is What.FORGOTTEN:
            self.jobs.pop(record.job, None)
            return
        entry = self.jobs.setdefault(record.job, Entry())
        if record.what is What.ACCEPTED:
            if before is None:
                entry.accepted, entry.accepted_value = span, record.value
        elif entry.outcome is None:
            entry.outcome, entry.outcome_value = span, record.value
        self.live_bytes += entry.live.size

    def needed(self) -> list[Span]:
        """Return what a compacted file has to hold, values first."""
        used = {entry.value for entry in self.jobs.values()}
        values = [span for value, span in self.values.items() if value in used]
        return [*values, *(entry.live for entry in self.jobs.values())]
