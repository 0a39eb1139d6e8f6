# SPDX-License-Identifier: Apache-2.0
"""Values to plain JSON data and back, the same way everywhere."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, TypeVar

import cattrs
from cattrs.gen import make_dict_unstructure_fn, override
from cattrs.preconf.json import make_converter

from .types import Cell, Target

T = TypeVar("T")


def _make() -> cattrs.Converter:
    converter = make_converter()
    converter.register_unstructure_hook(Target, str)
    converter.register_structure_hook(Target, lambda text, _: Target.parse(text))
    converter.register_unstructure_hook(datetime, lambda moment: moment.isoformat())
    converter.register_structure_hook(datetime, lambda text, _: datetime.fromisoformat(text))
    # What is measured as ever is written as ever: stores know a cell by its JSON.
    converter.register_unstructure_hook(
        Cell,
        make_dict_unstructure_fn(Cell, converter, scenario=override(omit_if_default=True)),
    )
    # Free-form mappings hold JSON values already.
    converter.register_structure_hook_func(
        lambda kind: kind == Mapping[str, Any], lambda value, _: dict(value)
    )
    # `int | str`, a tensor dimension: JSON tells them apart.
    converter.register_structure_hook(int | str, lambda value, _: value)
    return converter


converter = _make()


def to_plain(value: Any) -> Any:
    """Return JSON data for any value of `types`, `events` or `errors.ErrorInfo`."""
    return converter.unstructure(value)


def from_plain(data: Any, kind: type[T]) -> T:
    """Rebuild a value from its JSON data."""
    return converter.structure(data, kind)
