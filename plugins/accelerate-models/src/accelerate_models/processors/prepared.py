# SPDX-License-Identifier: Apache-2.0
"""A processor that was checked and is ready to be stored."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from accelerate_core.types import ProcessorSpec

from ..cache import AssetBatch


@attrs.frozen(kw_only=True)
class Prepared:
    """Hold a processor's settings and the bytes of its assets, before anything is written."""

    task: str
    kind: str
    settings: Mapping[str, Any]
    contents: Mapping[str, bytes]  #: asset name -> bytes
    family: str | None = None
    notes: Mapping[str, Any] = attrs.field(factory=dict)  #: for the model's metadata

    def store(self, batch: AssetBatch) -> ProcessorSpec:
        """Write the assets and return the spec."""
        assets = tuple(batch.put_bytes(data, name) for name, data in self.contents.items())
        return ProcessorSpec(kind=self.kind, settings=self.settings, assets=assets)
