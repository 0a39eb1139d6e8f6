# SPDX-License-Identifier: Apache-2.0
"""A complete scheduler plugin: spare the workers that waited longest, keep the others warm."""

from accelerate_core import hookimpl
from accelerate_core.fleet.policy import Placement, Wait


class LastIdle:
    name = "last_idle"

    @hookimpl
    def scheduler_create(self, settings, ctx):
        return self

    def pick(self, job, fleet):
        free = [one.id for one in fleet.idle(job.targets) if one.id not in job.tried]
        return Placement((free[-1],)) if free else Wait("all are busy")
