# SPDX-License-Identifier: Apache-2.0
"""Which CI system this process runs in."""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from accelerate_core.protocols import Plugins

from .hookspecs import PROVIDERS
from .hookspecs.provider import Provider
from .values import Job


@attrs.frozen
class Here:
    """Hold the job, its system, and the environment that says so."""

    job: Job
    provider: Provider
    environ: Mapping[str, str]


def provider(plugins: Plugins, name: str, *, where: str = "") -> Provider:
    """Return an installed CI system; ConfigError for a name nobody has."""
    plugins.add_family(PROVIDERS)
    made: Provider = plugins.create("ci_providers", name, where=where)
    return made


def here(plugins: Plugins, environ: Mapping[str, str]) -> Here | None:
    """Return where this process runs, as the first installed system by name says; else None."""
    plugins.add_family(PROVIDERS)
    for name in plugins.names("ci_providers"):
        one = provider(plugins, name)
        if (job := one.detect(environ)) is not None:
            return Here(job, one, environ)
    return None
