# SPDX-License-Identifier: Apache-2.0
"""ELECTRA for accelerate: its plugin. What builds the graph is imported when it is used."""

from accelerate_core import hookimpl


class Electra:
    name = "electra"

    @hookimpl
    def builder_create(self, settings, ctx):
        from .electra import BUILDER

        return BUILDER
