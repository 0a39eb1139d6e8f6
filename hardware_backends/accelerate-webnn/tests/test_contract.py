# SPDX-License-Identifier: Apache-2.0
"""The backend `webnn` and its engine keep their contracts, in the headless shell."""

from typing import Any

import pytest
from accelerate_browser.testing.engine import EngineContract
from accelerate_webnn import WebNnPlugin

from accelerate_core.errors import BackendUnavailable, ModelError
from accelerate_core.protocols import Backend, Context, Worker
from accelerate_core.testing import models
from accelerate_core.types import LoadOptions, Target


@pytest.mark.browser("chromium-headless-shell")
class TestWebNnInHeadlessShell(EngineContract):
    target = "webnn:chromium-headless-shell"

    @pytest.fixture(scope="class")
    @classmethod
    def backend(cls, context: Context) -> Backend:
        return WebNnPlugin().backend_create(None, context)

    def test_a_free_dimension_without_a_size_is_refused(
        self, run: Any, worker: Worker, context: Context
    ) -> None:
        spec = models.tiny_mlp(context.assets)
        for options in (None, LoadOptions(), LoadOptions(dimensions={"sequence": 4})):
            with pytest.raises(ModelError, match="no size is given for batch"):
                run(worker.load(spec, options))

    def test_what_really_ran_is_recorded(self, worker: Worker) -> None:
        assert worker.info.device_type == "cpu"


@pytest.mark.browser("chromium")
async def test_a_browser_whose_webnn_makes_no_context_is_unavailable(context: Context) -> None:
    backend = context.plugins.create("backends", "webnn")
    with pytest.raises(BackendUnavailable, match=r"WebNN|context") as caught:
        await backend.start(Target.parse("webnn:chromium"), context)
    await backend.close()
    message = caught.value.info.message
    assert message.count("createContext") == 1 and "(npu, gpu, cpu)" in message
    assert "accel browsers install chromium-headless-shell" in (caught.value.info.hint or "")
