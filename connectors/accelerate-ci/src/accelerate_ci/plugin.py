# SPDX-License-Identifier: Apache-2.0
"""The plugins by which the core asks where it runs, and shows results there."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from accelerate_core.markers import hookimpl

if TYPE_CHECKING:
    from accelerate_core.protocols import Connector, Context


class CiMetadataPlugin:
    """Say in which CI job a run runs."""

    name = "ci"

    @hookimpl
    def run_metadata(self) -> Mapping[str, Any]:
        """Return provider, commit, branch, pull request and job; nothing outside of CI."""
        from accelerate_core.host import Host

        from .detecting import here

        found = here(Host(), os.environ)
        return found.job.metadata() if found else {}


class CiConnectorPlugin:
    """Make the connector that shows results in the job, its pull request and its commit."""

    name = "ci"

    @hookimpl
    def connector_create(self, ctx: Context) -> Connector:
        """Return the connector; nobody is asked yet."""
        from .connector import CiConnector
        from .detecting import here

        return CiConnector(here(ctx.plugins, os.environ))
