# SPDX-License-Identifier: Apache-2.0
"""The scheduler `performance` after a real run: what that stored decides the next first request."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from accelerate_core import config
from accelerate_core.api import AsyncAccelerator
from accelerate_core.assembly import make_host
from accelerate_core.assets import AssetStore
from accelerate_core.measuring import pipeline
from accelerate_core.testing import samples
from accelerate_core.testing.models import matmul_input, tiny_matmul
from accelerate_core.types import Target

from .databases import filled


@pytest.mark.parametrize(
    ("fake_ms", "slower", "faster"), [(0.001, "cpu", "fake"), (5000.0, "fake", "cpu")]
)
async def test_the_first_request_goes_where_the_store_says_it_is_faster(
    tmp_path: Path, fake_ms: float, slower: str, faster: str
) -> None:
    assets = AssetStore(tmp_path / "scratch")
    (asset,) = tiny_matmul(assets).assets
    source = f"file:{tmp_path / 'tiny.onnx'}"
    (tmp_path / "tiny.onnx").write_bytes(assets.path(asset.sha256).read_bytes())
    path = tmp_path / "r.duckdb"
    folders = {"cache_dir": tmp_path / "cache", "state_dir": tmp_path / "state"}
    made = config.parse(
        {
            "models": [{"name": "tiny", "source": source}],
            "benchmarks": [{"targets": ["cpu"], "repeats": 4}],
            "store": {"use": "duckdb", "path": str(path)},
        }
    )
    ran = await pipeline.run(made, make_host(made, **folders))
    (measured,) = ran.summary.measurements
    # The fake backend's own numbers are never taken for measurements.
    filled(
        path,
        [fake_ms],
        target="fake",
        first=(datetime.now(UTC) - samples.START).days,
        host=ran.summary.run.host,
        model_sha256=measured.model_sha256,
        batch_size=measured.cell.batch_size,
        sequence_length=measured.cell.sequence_length,
    )
    async with AsyncAccelerator(db_path=str(path), scheduler="performance", **folders) as it:
        for target in (slower, faster):  # both are up
            await it.accelerate_model(source, platform=target)
        preferences = {"priority_list": [slower, faster]}
        model = await it.get_model(source, hardware_preferences=preferences)
        response = await model.request(matmul_input())
    assert (response.target, response.fell_back_from) == (Target(faster), Target(slower))
