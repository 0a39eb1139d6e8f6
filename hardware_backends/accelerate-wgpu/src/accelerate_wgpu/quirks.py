# SPDX-License-Identifier: Apache-2.0
"""What naga cannot take of valid WGSL, and what it is given instead. The one table of it."""

from __future__ import annotations

from collections.abc import Callable

import attrs


@attrs.frozen(kw_only=True)
class Quirk:
    """One departure from the specification, how it is met, and what proves that it is there."""

    who: str  #: who departs, and in which versions it was seen
    reason: str
    mend: Callable[[str], str]  #: from a kernel's source to what is compiled
    proof: str  #: the test that fails once the quirk is gone


def _without_enable_subgroups(source: str) -> str:
    # Blank, not gone: lines keep their numbers in messages.
    return source.replace("enable subgroups;", "", 1)


QUIRKS: tuple[Quirk, ...] = (
    Quirk(
        who="naga of wgpu-py 0.32",
        reason="knows the subgroup functions, and refuses the directive that enables them",
        mend=_without_enable_subgroups,
        proof="tests/test_quirks.py::test_naga_refuses_to_enable_subgroups",
    ),
)


def mended(source: str) -> str:
    """Return a kernel's source as naga takes it."""
    for quirk in QUIRKS:
        source = quirk.mend(source)
    return source
