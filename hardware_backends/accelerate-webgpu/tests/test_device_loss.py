# SPDX-License-Identifier: Apache-2.0
"""A GPU that goes away under a page: the browser's GPU process is killed."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal

import numpy as np
import psutil
import pytest

from accelerate_core.errors import ModelError, WorkerLost
from accelerate_core.protocols import Context
from accelerate_core.testing import models
from accelerate_core.types import LoadOptions, Target, WorkerEventKind


@pytest.mark.browser("chromium")
@pytest.mark.parametrize("target", ["webgpu/ort:chromium", "webgpu/plan:chromium"])
async def test_a_page_recovers_from_a_lost_device(context: Context, target: str) -> None:
    backend = context.plugins.create("backends", "webgpu")
    worker = await backend.start(Target.parse(target), context)
    try:
        handle = await worker.load(
            models.tiny_matmul(context.assets), LoadOptions(dimensions={"batch": 2})
        )
        inputs = models.matmul_input()
        (kept,) = (await worker.run(handle, inputs, keep=["y"])).outputs.values()
        losses = worker.events()
        for _ in range(3):  # browsers have less and less patience with a GPU process that crashes
            os.kill(_gpu_process(), signal.SIGKILL)
            seen = []
            async with asyncio.timeout(30):
                while WorkerEventKind.DEVICE_RESTORED not in seen:
                    seen.append((await anext(losses)).kind)
            assert WorkerEventKind.DEVICE_LOST in seen
        # The model is loaded again on the new device, by itself; what was kept there is gone.
        result = await worker.run(handle, inputs)
        for name, expected in models.expected_matmul(inputs).items():
            np.testing.assert_allclose(result.outputs[name], expected, rtol=1e-3)
        with pytest.raises(ModelError, match="device was lost"):
            await worker.fetch(kept)
    except WorkerLost as error:
        pytest.fail(f"the page did not survive: {error}")
    finally:
        await worker.close()
        await backend.close()


def _gpu_process() -> int:
    found = []
    for child in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):  # one may end meanwhile, another be a zombie
            if "--type=gpu-process" in child.cmdline():
                found.append(child.pid)
    (pid,) = found
    return pid
