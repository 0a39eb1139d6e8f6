# SPDX-License-Identifier: Apache-2.0
"""What a WGSL file declares: bindings, the fields of `Params`, overrides, extensions. No I/O.

This reads declarations only, by their fixed form at module scope; whether the rest is valid is for
naga and Tint to say, and the conformance kit asks both.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import attrs

_COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.S)
_BINDING = re.compile(
    r"@group\(0\)\s*@binding\((?P<index>\d+)\)\s*"
    r"var<(?P<space>uniform|storage)(?:,\s*(?P<access>\w+))?>\s*(?P<name>\w+)\s*:\s*(?P<type>[^;]+);"
)
_PARAMS = re.compile(r"struct\s+Params\s*\{(?P<fields>.*?)\}", re.S)
_FIELD = re.compile(r"(\w+)\s*:\s*([^,\n]+?)\s*(?:,|$)", re.M)
_OVERRIDE = re.compile(r"^\s*override\s+(?P<name>\w+)", re.M)
_ENABLE = re.compile(r"^\s*enable\s+([\w,\s]+);", re.M)


@attrs.frozen
class Declared:
    """One `@group(0) @binding(index)` variable."""

    name: str
    space: str  #: "uniform" or "storage"
    access: str  #: "read" or "read_write"
    type: str


@attrs.frozen
class Declarations:
    """What a WGSL file declares at module scope."""

    bindings: Mapping[int, Declared]
    params: Mapping[str, str]  #: fields of `struct Params`, in order
    overrides: frozenset[str]
    enables: frozenset[str]


def read(source: str) -> Declarations:
    """Return what a WGSL source declares."""
    code = _COMMENT.sub("", source)
    params = _PARAMS.search(code)
    return Declarations(
        bindings={
            int(one["index"]): Declared(
                one["name"], one["space"], one["access"] or "read", one["type"].strip()
            )
            for one in _BINDING.finditer(code)
        },
        params=dict(_FIELD.findall(params["fields"])) if params else {},
        overrides=frozenset(one["name"] for one in _OVERRIDE.finditer(code)),
        enables=frozenset(
            name.strip() for one in _ENABLE.finditer(code) for name in one[1].split(",")
        ),
    )
