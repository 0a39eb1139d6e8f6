# SPDX-License-Identifier: Apache-2.0
"""What all conformance kits share."""

from __future__ import annotations

from typing import Any


class Contract:
    """Base of all contracts. A subclass adds a fixture and may add tests; it replaces none."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        inherited = {name for base in cls.__mro__[1:] for name in vars(base)}
        replaced = sorted(
            name for name in vars(cls) if name.startswith("test_") and name in inherited
        )
        if replaced:
            raise TypeError(
                f"{cls.__name__} replaces {', '.join(replaced)} of its contract: "
                "give your own tests other names, and set the class attributes of the contract "
                "to say what your plugin cannot do"
            )
