# SPDX-License-Identifier: Apache-2.0
"""Models on a device: plans as they are, ONNX models compiled for each size they are run with."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

from accelerate_plan.devices import device_of
from accelerate_plan.plan import Plan, read_plan

from accelerate_core.errors import ModelError, Unsupported
from accelerate_core.protocols import Context
from accelerate_core.types import LoadOptions, ModelSpec, WorkerInfo

from .gpu import Gpu, typed_errors
from .replay import Kept, Ran, Replay

if TYPE_CHECKING:
    from accelerate_core.types import Array

Sizes: TypeAlias = tuple[tuple[str, int], ...]

#: Sizes of a model that stay on the device: each has activations of its own.
MOST_SIZES = 8


class LoadedModel:
    """Run a model with inputs of any size it takes."""

    def __init__(
        self,
        spec: ModelSpec,
        make: Callable[[Mapping[str, int]], Replay],
        first: Mapping[str, int],
        *,
        is_guess: bool = False,
    ) -> None:
        self._spec = spec
        self._make = make
        self._replays: OrderedDict[Sizes, Replay] = OrderedDict()
        self.details: Mapping[str, Any] = {}
        try:
            replay = self._replay(first)
        except ModelError:
            if not is_guess:
                raise
            return  # sizes nobody asked for may leave nothing of a signal
        self.details = {
            "dispatches": len(replay.plan.dispatches),
            "pipelines": len(replay.plan.pipelines),
            "weights_bytes": replay.plan.weights_bytes,
            "arena_bytes": sum(one.size for one in replay.plan.buffers if one.role == "arena"),
        }

    def run(self, inputs: Mapping[str, Array | Kept], keep: Collection[str] = ()) -> Ran:
        """Run once; inputs were checked against the spec."""
        replay = self._replay(_dimensions(self._spec, inputs))
        with typed_errors(f"model {self._spec.name}"):
            return replay.run(inputs, keep)

    def _replay(self, dimensions: Mapping[str, int]) -> Replay:
        key = tuple(sorted(dimensions.items()))
        if key not in self._replays:
            self._replays[key] = self._make(dimensions)
            if len(self._replays) > MOST_SIZES:
                self._replays.popitem(last=False)
        self._replays.move_to_end(key)
        return self._replays[key]


class Loader:
    """Turn specs into models on a device."""

    def __init__(self, gpu: Gpu, info: WorkerInfo, ctx: Context) -> None:
        self._gpu = gpu
        self._device = device_of(info)
        self._ctx = ctx

    def load(self, spec: ModelSpec, options: LoadOptions) -> LoadedModel:
        """Return a model with one size ready to run."""
        if spec.format == "plan":
            return LoadedModel(spec, lambda _: self._open(spec, options), {})
        if spec.format != "onnx":
            raise Unsupported(
                f"the wgpu backend does not run models of format {spec.format!r}",
                where=f"model {spec.name}",
                accepted=("onnx", "plan"),
            )
        from accelerate_plan.planning import plan_for

        def make(dimensions: Mapping[str, int]) -> Replay:
            return self._open(plan_for(spec, dimensions, self._device, self._ctx), options)

        free = {size for one in spec.inputs for size in one.shape if isinstance(size, str)}
        first = {name: options.dimensions.get(name, 1) for name in free}
        return LoadedModel(spec, make, first, is_guess=not free <= set(options.dimensions))

    def _open(self, spec: ModelSpec, options: LoadOptions) -> Replay:
        where = f"model {spec.name} ({spec.source})"
        assets = self._ctx.assets
        plan = read_plan(assets.path(spec.assets[0].sha256).read_bytes(), where=where)
        self._check(plan, spec, where)
        weights = assets.path(spec.assets[1].sha256) if plan.weights_bytes else None
        is_timed = options.profile and "timestamp-query" in self._device.features
        with typed_errors(where):
            return Replay(self._gpu, plan, weights, is_timed=is_timed)

    def _check(self, plan: Plan, spec: ModelSpec, where: str) -> None:
        """Refuse a plan without its weights, of another model, or for another device."""
        said = {one.name: (one.dtype, one.shape) for one in (*spec.inputs, *spec.outputs)}
        has = {one.name: (one.dtype, one.shape) for one in (*plan.inputs, *plan.outputs)}
        if said != has:
            raise ModelError(
                "the plan has other inputs or outputs than the model says",
                where=where,
                accepted=[f"{name}: {dtype}{list(shape)}" for name, (dtype, shape) in has.items()],
            )
        weights = spec.assets[1].sha256 if len(spec.assets) > 1 else None
        if plan.weights_bytes and weights != plan.weights_sha256:
            raise ModelError(
                "the weights are not those the plan was made with",
                where=where,
                hint="Compile the model again: accel models compile.",
            )
        needed = {feature for one in plan.pipelines for feature in one.features}
        limit = self._device.limit("maxBufferSize")
        largest = max((one.size for one in plan.buffers), default=0)
        if (lacking := sorted(needed - self._device.features)) or largest > limit:
            what = " and ".join(lacking) or f"a buffer of {largest} bytes, of {limit:.0f} possible"
            raise Unsupported(
                f"the plan was made for a device with {what}",
                where=where,
                hint="Compile the model for this device.",
            )


def _dimensions(spec: ModelSpec, inputs: Mapping[str, Array | Kept]) -> dict[str, int]:
    """Return the sizes of free dimensions; equal names have equal sizes, as was checked."""
    return {
        name: size
        for one in spec.inputs
        for name, size in zip(one.shape, inputs[one.name].shape, strict=True)
        if isinstance(name, str)
    }
