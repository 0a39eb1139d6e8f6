# SPDX-License-Identifier: Apache-2.0
"""Read params as the Python types that references compute with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..params import Value


def number(params: Mapping[str, Value], name: str) -> float:
    """Return a scalar param."""
    value = params[name]
    assert not isinstance(value, Sequence)
    return value


def integer(params: Mapping[str, Value], name: str) -> int:
    """Return a scalar param that is whole."""
    return int(number(params, name))


def integers(params: Mapping[str, Value], *names: str) -> list[int]:
    """Return the components of vec4 params, one after the other."""
    found: list[int] = []
    for name in names:
        value = params[name]
        assert isinstance(value, Sequence)
        found += [int(one) for one in value]
    return found
