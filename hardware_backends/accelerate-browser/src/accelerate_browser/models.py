# SPDX-License-Identifier: Apache-2.0
"""Models in a page: each once, or once for each of the sizes an engine prepares it for."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any

import attrs

from accelerate_core.protocols import Context
from accelerate_core.types import LoadOptions, ModelSpec, Phases, TensorRef, WorkerInfo

from .bridge import Answer, Bridge, Build
from .hookspecs.engine import EngineModule, Prepared
from .messages import AssetHeader, Load, Loaded, Unload
from .traits import CheckLoad, check_format

if TYPE_CHECKING:
    from accelerate_core.protocols import Inputs

Sizes = Mapping[str, int]
_Key = tuple[tuple[str, int], ...]


@attrs.frozen(kw_only=True)
class Loader:
    """Put models into one page."""

    info: WorkerInfo
    module: EngineModule
    bridge: Bridge
    ctx: Context
    check_load: CheckLoad | None
    ask: Callable[[Build], Awaitable[Answer]]
    tell: Callable[[str], None]  #: says what a load does now

    async def load(
        self, name: str, spec: ModelSpec, options: LoadOptions, sizes: Sizes
    ) -> PageModel:
        """Prepare a model where the engine does so, and load it under a name."""
        prepared, prepare_ms = await self._prepare(spec, sizes)
        ready = prepared.spec
        check_format(ready, self.module.formats, self.info.target)
        if self.check_load is not None:
            self.check_load(ready, options, self.info)
        for asset in ready.assets:
            self.bridge.serve_asset(asset.sha256, self.ctx.assets.path(asset.sha256))
        answer = await self.ask(
            lambda id, _: Load(
                id=id,
                model=name,
                format=ready.format,
                precision=ready.precision,
                assets=tuple(
                    AssetHeader(sha256=one.sha256, size_bytes=one.size_bytes, name=one.name)
                    for one in ready.assets
                ),
                inputs=tuple(attrs.asdict(one) for one in ready.inputs),
                outputs=tuple(attrs.asdict(one) for one in ready.outputs),
                dimensions={**options.dimensions, **sizes},
                precompile=options.precompile,
                profile=options.profile,
            )
        )
        loaded = answer.message
        assert isinstance(loaded, Loaded)
        return PageModel(
            name=name,
            phases=Phases(
                fetch_ms=loaded.fetch_ms,
                compile_ms=loaded.compile_ms + (prepare_ms or 0.0),
                first_run_ms=loaded.first_run_ms,
            ),
            is_cached=loaded.is_cached,
            details={**loaded.details, **prepared.details}
            | ({} if prepare_ms is None else {"prepare_ms": prepare_ms}),
            is_sized=self.module.prepare is not None and not free_dimensions(ready),
        )

    async def unload(self, page: PageModel) -> None:
        """Drop a model from the page."""
        await self.ask(lambda id, _: Unload(id=id, model=page.name))

    async def _prepare(self, spec: ModelSpec, sizes: Sizes) -> tuple[Prepared, float | None]:
        """Return what to load, and how long the engine took to make it; None where it does not."""
        prepare = self.module.prepare
        if prepare is None:
            return Prepared(spec), None
        listed = ", ".join(f"{name} {size}" for name, size in sizes.items())
        self.tell(f"preparing {spec.name}" + (f" for {listed}" if listed else ""))
        begin = time.perf_counter()
        prepared = await asyncio.to_thread(prepare, spec, sizes, self.info, self.ctx)
        return prepared, (time.perf_counter() - begin) * 1e3


@attrs.define(kw_only=True, eq=False)
class PageModel:
    """A model as it is loaded in the page."""

    name: str  #: the page's
    phases: Phases
    is_cached: bool | None
    details: Mapping[str, Any]
    is_sized: bool  #: it serves the sizes it was prepared for, and no others
    users: int = 0


class SizedModel:
    """One model of a worker, in the page under a name for each of the sizes it is loaded for."""

    def __init__(self, name: str, spec: ModelSpec, options: LoadOptions, loader: Loader) -> None:
        self.name = name
        self._spec = spec
        self._options = options
        self._loader = loader
        self._free = free_dimensions(spec)
        self._pages: dict[_Key, PageModel] = {}  # the latest used last
        self._for_all: PageModel | None = None
        self._loading = asyncio.Lock()
        self._numbers = itertools.count(2)

    async def open(self) -> PageModel | None:
        """Load the model; None where it has to wait for the sizes of its first inputs."""
        known = self._options.dimensions
        sizes = {name: known[name] for name in self._free if name in known}
        if self._loader.module.prepare is not None and len(sizes) < len(self._free):
            return None
        page = await self._loader.load(self.name, self._spec, self._options, sizes)
        self._add(sizes, page)
        return page

    @contextlib.asynccontextmanager
    async def at(self, inputs: Inputs) -> AsyncIterator[tuple[str, Phases]]:
        """Give the page's name for the sizes of inputs, and how long it took to load it now."""
        sizes = self._sizes(inputs)
        phases = Phases()
        page = self._find(sizes)
        if page is None:
            async with self._loading:
                page = self._find(sizes)
                if page is None:
                    page = await self._load(sizes)
                    phases = page.phases
        page.users += 1
        try:
            yield page.name, phases
        finally:
            page.users -= 1

    async def close(self) -> None:
        """Drop the model, for all its sizes."""
        async with self._loading:
            pages = [*self._pages.values(), *([self._for_all] if self._for_all else [])]
            for page in pages:
                await self._loader.unload(page)

    async def _load(self, sizes: Sizes) -> PageModel:
        # The run that asks follows at once; one on zeros before it would be for nothing.
        options = attrs.evolve(self._options, precompile=False)
        name = f"{self.name}.{next(self._numbers)}"
        page = await self._loader.load(name, self._spec, options, sizes)
        self._add(sizes, page)
        idle = [one for one in self._pages.items() if not one[1].users and one[1] is not page]
        excess = max(0, len(self._pages) - self._loader.module.keep_sizes)
        for key, old in idle[:excess]:
            del self._pages[key]
            await self._loader.unload(old)
        return page

    def _add(self, sizes: Sizes, page: PageModel) -> None:
        if page.is_sized:
            self._pages[_key(sizes)] = page
        else:
            self._for_all = page

    def _find(self, sizes: Sizes) -> PageModel | None:
        if self._for_all is not None:
            return self._for_all
        page = self._pages.pop(_key(sizes), None)
        if page is not None:
            self._pages[_key(sizes)] = page
        return page

    def _sizes(self, inputs: Inputs) -> dict[str, int]:
        sizes: dict[str, int] = {}
        for tensor in self._spec.inputs:
            value = inputs[tensor.name]
            shape = value.spec.shape if isinstance(value, TensorRef) else value.shape
            for dimension, size in zip(tensor.shape, shape, strict=True):
                if isinstance(dimension, str):
                    sizes[dimension] = int(size)
        return sizes


def free_dimensions(spec: ModelSpec) -> tuple[str, ...]:
    """Return the names of the free dimensions of a model's inputs."""
    return tuple(
        dict.fromkeys(
            size for tensor in spec.inputs for size in tensor.shape if isinstance(size, str)
        )
    )


def _key(sizes: Sizes) -> _Key:
    return tuple(sorted(sizes.items()))
