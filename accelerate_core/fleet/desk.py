# SPDX-License-Identifier: Apache-2.0
"""What the parts of the machine share: all it knows, and what it is about to say."""

from __future__ import annotations

from ..protocols import Recovery, Scheduler
from .alarm import Alarm
from .breakers import Breakers
from .index import Fleet
from .instructions import Instruction
from .queue import Queue
from .settings import FleetSettings
from .state import JobState


class Desk:
    """Hold the state of one machine."""

    def __init__(self, scheduler: Scheduler, recovery: Recovery, settings: FleetSettings) -> None:
        self.scheduler = scheduler
        self.recovery = recovery
        #: Whether the scheduler chooses among all of a job's targets.
        self.sees_fallbacks: bool = getattr(scheduler, "sees_fallbacks", False)
        #: Whether it wants to know how each worker does.
        self.sees_paces: bool = getattr(scheduler, "sees_paces", False)
        self.settings = settings
        self.fleet = Fleet()
        self.jobs: dict[str, JobState] = {}
        #: Jobs that lack an attempt.
        self.queue: Queue = self.fleet.queue
        self.alarm = Alarm()
        self.breakers = Breakers(settings.breaker, self.fleet.latencies)
        self.is_draining = False
        self.out: list[Instruction] = []

    def say(self, instruction: Instruction) -> None:
        """Have something done."""
        self.out.append(instruction)
