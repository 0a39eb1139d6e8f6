# SPDX-License-Identifier: Apache-2.0
"""How the parts of a cut model fit together: who makes which tensor, and who takes it. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..errors import ModelError, did_you_mean
from ..inputs import describe
from ..types import ModelSpec, TensorSpec

if TYPE_CHECKING:
    from ..types import Array


class Cut:
    """Connect stages by the names of their tensors. State is a stage's own affair."""

    def __init__(self, specs: Sequence[ModelSpec]) -> None:
        """Connect the stages, first to last; ModelError where two do not fit."""
        #: Stage that makes a tensor, by name.
        self.made_by: dict[str, int] = {}
        #: Names each stage takes.
        self.takes: list[tuple[str, ...]] = []
        #: Stages that take each tensor of a stage.
        self.passed: list[dict[str, list[int]]] = []
        #: What callers give.
        self.inputs: dict[str, TensorSpec] = {}
        made: dict[str, TensorSpec] = {}
        for stage, spec in enumerate(specs):
            pairs: Mapping[str, Any] = spec.metadata.get("state", {})
            wanted = [one for one in spec.inputs if one.name not in pairs]
            self.takes.append(tuple(one.name for one in wanted))
            self.passed.append({})
            for one in wanted:
                source = made.get(one.name) or self.inputs.setdefault(one.name, one)
                _check_fits(source, one, spec)
                if one.name in made:
                    maker = self.passed[self.made_by[one.name]]
                    maker.setdefault(one.name, []).append(stage)
            for one in spec.outputs:
                if one.name in pairs.values():
                    continue
                if one.name in made or one.name in self.inputs:
                    raise ModelError(
                        f"two parts of the model have a tensor {one.name!r} to give",
                        where=f"stage {stage + 1}, {spec.name}",
                    )
                made[one.name], self.made_by[one.name] = one, stage
        taken = {name: max(takers) for made in self.passed for name, takers in made.items()}
        #: Tensors that no stage after this one takes.
        self.last_taken_by = [
            tuple(name for name, last in taken.items() if last == stage)
            for stage in range(len(specs))
        ]
        #: What callers get.
        self.outputs = tuple(name for name in made if name not in taken)

    def check(self, inputs: Mapping[str, Array]) -> None:
        """Refuse inputs with other names than the stages take together, by ModelError."""
        for name in inputs:
            if name not in self.inputs:
                raise self._wrong(f"there is no input {name!r}", did_you_mean(name, self.inputs))
        for name in self.inputs:
            if name not in inputs:
                raise self._wrong(f"input {name!r} is missing", None)

    def _wrong(self, message: str, hint: str | None) -> ModelError:
        accepted = [describe(one) for one in self.inputs.values()]
        return ModelError(message, where="inputs of a group", accepted=accepted, hint=hint)


def _check_fits(source: TensorSpec, taken: TensorSpec, spec: ModelSpec) -> None:
    fits = source.dtype == taken.dtype and len(source.shape) == len(taken.shape)
    for size, wanted in zip(source.shape, taken.shape, strict=fits):
        fits &= size == wanted or isinstance(size, str) or isinstance(wanted, str)
    if not fits:
        raise ModelError(
            f"it takes {describe(taken)}, and an earlier part gives {describe(source)}",
            where=f"model {spec.name}",
            hint="Cut both parts from one model.",
        )
