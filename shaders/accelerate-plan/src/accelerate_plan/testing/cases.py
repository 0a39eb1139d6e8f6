# SPDX-License-Identifier: Apache-2.0
"""Cases of an operation: read from `cases.json`, with operands that are the same every time."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np

from accelerate_core.errors import AccelerateError, PluginError
from accelerate_core.settings import Real, structure

from ..kernels import Binding, Kernel
from ..params import pack

if TYPE_CHECKING:
    from accelerate_core.types import Array

_DTYPES: Mapping[str, type[Any]] = {"f32": np.float32, "i32": np.int32, "u32": np.uint32}


@attrs.frozen(kw_only=True)
class Fill:
    """Say what an operand is made of: one of these."""

    scale: float | None = None  #: normal numbers of this standard deviation
    integers: tuple[int, int] | None = None  #: least and largest, both included
    values: tuple[Real, ...] | None = None  #: repeated until the operand is full


@attrs.frozen(kw_only=True)
class Case:
    """Call an operation once: params, the shapes of its operands, and what fills them."""

    name: str
    params: Mapping[str, Any]  #: numbers, and lists of four of them
    shapes: Mapping[str, tuple[int, ...]]
    fill: Mapping[str, Fill] = attrs.field(factory=dict)
    speed: bool = False  #: timed, too

    def inputs(self, kernel: Kernel) -> dict[str, Array]:
        """Return the logical value of every operand but the outputs; each time the same."""
        return {
            one.name: self._operand(kernel, one)
            for one in kernel.bindings
            if one.role != "output" and one.name in self.shapes
        }

    def _operand(self, kernel: Kernel, binding: Binding) -> Array:
        seed = zlib.crc32(f"{kernel.operation}/{self.name}/{binding.name}".encode())
        random = np.random.default_rng(seed)
        shape, dtype = self.shapes[binding.name], _DTYPES[binding.type]
        fill = self.fill.get(binding.name, Fill(scale=1.0))
        if fill.values is not None:
            return np.resize(np.array(fill.values, dtype), shape)
        if fill.integers is not None:
            least, largest = fill.integers
            return random.integers(least, largest, shape, endpoint=True).astype(dtype)
        return (random.standard_normal(shape) * (fill.scale or 0.0)).astype(dtype)


def read_cases(kernel: Kernel, folder: Path) -> tuple[Case, ...]:
    """Return an operation's cases; PluginError names the file, the case and what is wrong."""
    path = folder / "cases.json"
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise PluginError(f"it cannot be read: {error}", where=str(path)) from error
    if not isinstance(table, list) or not table:
        raise PluginError("cases are a list, with at least one", where=str(path))
    cases: list[Case] = []
    for number, one in enumerate(table):
        name = one.get("name", number) if isinstance(one, dict) else number
        where = f"{path}, case {name!r}"
        if not isinstance(one, dict):
            raise PluginError("a case is a table", where=where)
        try:
            case: Case = structure(one, Case, where=where)
        except AccelerateError as error:
            raise PluginError(
                error.info.message, where=error.info.where, accepted=error.info.accepted
            ) from error
        if any(case.name == other.name for other in cases):
            raise PluginError("two cases have this name", where=where)
        _check(case, kernel, where)
        cases.append(case)
    return tuple(cases)


def _check(case: Case, kernel: Kernel, where: str) -> None:
    operands = {one.name: one for one in kernel.bindings}
    needed = {name for name, one in operands.items() if not one.optional}
    if unknown := sorted(set(case.shapes) - set(operands)):
        raise PluginError(
            f"there is no operand {', '.join(unknown)}", where=where, accepted=tuple(operands)
        )
    if missing := sorted(needed - set(case.shapes)):
        raise PluginError(f"{', '.join(missing)} has no shape", where=where)
    inputs = {name for name in case.shapes if operands[name].role != "output"}
    if unknown := sorted(set(case.fill) - inputs):
        raise PluginError(
            f"fill names {', '.join(unknown)}, which is no input here",
            where=where,
            accepted=tuple(sorted(inputs)),
        )
    for name in inputs:
        fill = case.fill.get(name)
        if fill and sum(one is not None for one in attrs.astuple(fill, recurse=False)) != 1:
            raise PluginError(
                f"fill of {name} says more than one thing, or nothing",
                where=where,
                accepted=("scale", "integers", "values"),
            )
        if operands[name].type != "f32" and (fill is None or fill.scale is not None):
            raise PluginError(
                f"{name} is made of integers, and fill does not say which",
                where=where,
                accepted=('{"integers": [least, largest]}', '{"values": [...]}'),
            )
    pack(kernel.params, case.params, where=where)
