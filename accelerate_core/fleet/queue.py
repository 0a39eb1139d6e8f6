# SPDX-License-Identifier: Apache-2.0
"""Jobs that lack an attempt, in lines of jobs that are alike to a scheduler.

Once one job of a line must wait, those behind it must too: what is asked of the head is answered
for all, so that ten thousand waiting jobs cost no more than one.

Within a line, and between lines, order is by rank: when a job came, less what its priority is
worth. Waiting thus raises a job at the same pace as all others, and nobody is overtaken for ever.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from typing import TypeAlias

import attrs

from ..types import Target
from .state import JobState

#: (first target left, and those after it), model, task, workers to keep away from.
Kind: TypeAlias = tuple[tuple[Target, ...], str, str | None, tuple[str, ...]]
#: Rank, order of coming, order of entering this line.
_Entry: TypeAlias = tuple[int, int, int, JobState]

#: A line that holds more entries of jobs that left than of jobs that wait is made anew.
_MANY = 64


@attrs.define(eq=False)
class Line:
    """Jobs a scheduler cannot tell apart, best rank first."""

    kind: Kind
    entries: list[_Entry] = attrs.field(factory=list)
    waiting: int = 0
    #: No job in it ranks behind this.
    worst_ns: int = 0
    #: Its head was told to wait while no worker for it was there or on its way.
    is_starved: bool = False
    #: Its head (id) waits by choice, and is asked about again at this moment.
    asks_ns: int | None = None
    asks_for: str = ""

    @property
    def target(self) -> Target:
        """The target its jobs want now."""
        return self.kind[0][0]

    @property
    def model(self) -> str:
        """The model of its jobs."""
        return self.kind[1]

    def before(self, rank_ns: int) -> int:
        """Return about how many of its jobs come before one of a rank: exactly, if many do not."""
        if not self.entries or rank_ns >= self.worst_ns:
            return self.waiting
        return min(self.waiting, sum(entry[0] <= rank_ns for entry in self.entries))


class Queue:
    """Keep waiting jobs; those that wait for a moment, not for a worker, are parked."""

    def __init__(self) -> None:
        self._jobs: dict[str, JobState] = {}
        self._lines: dict[Kind, Line] = {}
        #: Lines whose head may be asked about.
        self._open: dict[Line, None] = {}
        self._count = 0

    def __len__(self) -> int:
        return len(self._jobs)

    def __contains__(self, job_id: object) -> bool:
        return job_id in self._jobs

    def __iter__(self) -> Iterator[JobState]:
        return iter(list(self._jobs.values()))

    # --- jobs ---------------------------------------------------------------------------------

    def add(self, job: JobState) -> None:
        """Let a job wait for a worker, or move it to the line where it belongs by now."""
        self._leave_line(job)
        self._jobs[job.id] = job
        kind = (job.targets, job.model, job.asked.task, job.avoids)
        line = self._lines.get(kind)
        if line is None:
            line = self._lines[kind] = Line(kind)
            self._open[line] = None
        self._count += 1
        job.line, job.entry = line, self._count
        line.worst_ns = max(line.worst_ns, job.rank_ns) if line.waiting else job.rank_ns
        heapq.heappush(line.entries, (job.rank_ns, job.number, job.entry, job))
        line.waiting += 1
        if line.asks_ns is not None:
            self._open[line] = None  # the more wait, the better the others look

    def park(self, job: JobState) -> None:
        """Let a job wait for a moment: it counts, and no worker is sought for it until `add`."""
        self._leave_line(job)
        self._jobs[job.id] = job

    def is_parked(self, job: JobState) -> bool:
        """Whether a job waits for a moment."""
        return job.line is None and job.id in self._jobs

    def discard(self, job: JobState) -> None:
        """Forget a job, where it waits at all."""
        if self._jobs.pop(job.id, None) is not None:
            self._leave_line(job)

    def avoiding(self, worker_id: str) -> list[JobState]:
        """Return the jobs that keep away from a worker."""
        found = [job for job in self._jobs.values() if job.line is None]
        for line in self._lines.values():
            if worker_id in line.kind[3]:
                found += self.members(line)
        return [job for job in found if worker_id in job.tried]

    # --- lines --------------------------------------------------------------------------------

    def waiting(self, targets: tuple[Target, ...]) -> int:
        """Return how many jobs wait for exactly these targets."""
        return sum(line.waiting for line in self._lines.values() if line.kind[0] == targets)

    def lines(self) -> list[Line]:
        """Return all lines."""
        return list(self._lines.values())

    def head(self, line: Line) -> JobState:
        """Return the job of a line that comes next."""
        entries = line.entries
        while not _waits(entries[0]):
            heapq.heappop(entries)
        return entries[0][3]

    def members(self, line: Line) -> list[JobState]:
        """Return the jobs of a line, in no order."""
        return [one[3] for one in line.entries if _waits(one)]

    def best(self) -> Line | None:
        """Return the line whose head comes next, of those that may be asked about."""
        if len(self._open) == 1:
            return next(iter(self._open))
        return min(self._open, key=self._rank, default=None)

    def close(self, line: Line) -> None:
        """Ask about a line no more until something opens it."""
        self._open.pop(line, None)

    def open(self, line: Line) -> None:
        """Ask again about a line."""
        self._open[line] = None

    def open_for(self, freed: Target) -> None:
        """Ask again about lines that a worker of this target may serve, if only as a fallback."""
        for line in self._lines.values():
            if any(target.covers(freed) for target in line.kind[0]):
                self._open[line] = None

    def open_starved(self) -> None:
        """Ask again about lines for which there is no worker at all."""
        for line in self._lines.values():
            if line.is_starved:
                self._open[line] = None

    def open_all(self) -> None:
        """Ask again about every line: nobody knows what has changed for whom."""
        self._open.update(dict.fromkeys(self._lines.values()))

    # --- inside -------------------------------------------------------------------------------

    def _rank(self, line: Line) -> tuple[int, int]:
        head = self.head(line)
        return head.rank_ns, head.number

    def _leave_line(self, job: JobState) -> None:
        line = job.line
        if line is None:
            return
        job.line = None
        job.entry = 0
        line.waiting -= 1
        if not line.waiting:
            del self._lines[line.kind]
            self._open.pop(line, None)
        elif len(line.entries) > 2 * line.waiting + _MANY:
            line.entries = [one for one in line.entries if _waits(one)]
            heapq.heapify(line.entries)


def _waits(entry: _Entry) -> bool:
    """Whether a job has not left since this entry of it was made."""
    return entry[3].entry == entry[2]
