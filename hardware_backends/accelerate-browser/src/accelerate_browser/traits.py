# SPDX-License-Identifier: Apache-2.0
"""What tells one browser backend from another."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import attrs

from accelerate_core.errors import Unsupported
from accelerate_core.types import LoadOptions, ModelSpec, Target, WorkerInfo

#: Refuses, by a typed error, what a backend knows it cannot load, before anything is sent.
CheckLoad = Callable[[ModelSpec, LoadOptions, WorkerInfo], None]


def check_format(spec: ModelSpec, formats: Sequence[str], target: Target) -> None:
    """Refuse a model that an engine's page does not load."""
    if spec.format not in formats:
        raise Unsupported(
            f"{target} does not run models of format {spec.format!r}",
            where=f"model {spec.name}",
            accepted=formats,
        )


@attrs.frozen(kw_only=True)
class Traits:
    """Tell one browser backend from another."""

    name: str
    #: Browsers that cannot run it, and why. Others are tried: a present API proves nothing.
    lacking: Mapping[str, str] = attrs.field(factory=dict)
    #: What to do where a browser has the API and no device behind it.
    remedy: str | None = None
    needs_static_shapes: bool = False
    check_load: CheckLoad | None = None
