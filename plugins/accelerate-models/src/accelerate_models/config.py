# SPDX-License-Identifier: Apache-2.0
"""A model's config.json, read with types: every value that a graph depends on is checked here."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs

from accelerate_core.errors import ModelError

_LARGEST = 1 << 31


@attrs.frozen
class ModelConfig:
    """Give typed access to config.json. Every method raises ModelError naming the key."""

    path: Path
    values: Mapping[str, Any]
    #: Of a section: what its keys are called from the top of the file, "vision_config.".
    prefix: str = ""

    def section(self, key: str) -> ModelConfig:
        """Return a nested object, such as a tower's configuration."""
        value = self.values.get(key)
        if not isinstance(value, dict):
            raise self.fault(key, "an object")
        return ModelConfig(self.path, value, f"{self.prefix}{key}.")

    def integer(self, key: str, default: int | None = None) -> int:
        """Return a whole number of at least 0."""
        value = self.values.get(key, default)
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < _LARGEST:
            raise self.fault(key, "a whole number")
        return value

    def size(self, key: str, default: int | None = None) -> int:
        """Return a whole number of at least 1; `default` where the file has none, or null."""
        if default is not None and self.values.get(key) is None:
            return default
        value = self.integer(key)
        if value < 1:
            raise self.fault(key, "a whole number of at least 1")
        return value

    def sizes(self, key: str, default: tuple[int, ...] | None = None) -> tuple[int, ...]:
        """Return a list of whole numbers of at least 1, which has at least one."""
        values = self.values.get(key, default)
        if not isinstance(values, (list, tuple)) or not values:
            raise self.fault(key, "a list of whole numbers")
        if not all(type(value) is int and 0 < value < _LARGEST for value in values):
            raise self.fault(key, "whole numbers of at least 1")
        return tuple(values)

    def number(self, key: str, default: float) -> float:
        """Return a number between 0 and 1."""
        value = self.values.get(key, default)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < 1:
            raise self.fault(key, "a number between 0 and 1")
        return float(value)

    def positive(self, key: str, default: float | None = None) -> float:
        """Return a finite number above 0."""
        value = self.values.get(key, default)
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not is_number or not 0 < value < math.inf:
            raise self.fault(key, "a number above 0")
        return float(value)

    def choice(self, key: str, accepted: tuple[str, ...], default: str) -> str:
        """Return one of the accepted words."""
        value = self.values.get(key, default)
        if value not in accepted:
            raise self.fault(key, *accepted)
        return str(value)

    def flag(self, key: str, default: bool) -> bool:
        """Return true or false."""
        value = self.values.get(key, default)
        if not isinstance(value, bool):
            raise self.fault(key, "true", "false")
        return value

    def refuse(self, key: str) -> None:
        """Refuse a switch that changes the architecture in a way no builder follows."""
        if self.values.get(key):
            raise self.fault(key, "false")

    def fault(self, key: str, *accepted: str) -> ModelError:
        """Return the error for a value that cannot be used."""
        found = repr(self.values[key]) if key in self.values else "missing"
        return ModelError(
            f"{self.prefix}{key} is {found}",
            where=str(self.path),
            accepted=accepted,
            hint="If the model is right as it is, export it to ONNX and use file:PATH.",
        )
