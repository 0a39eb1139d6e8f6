# SPDX-License-Identifier: Apache-2.0
"""What WGSL declares is read from its text, comments aside."""

from __future__ import annotations

from accelerate_plan import wgsl

SOURCE = """
// SPDX-License-Identifier: Apache-2.0
enable f16;
enable subgroups, dual_source_blending;
/* @group(0) @binding(7) var<storage, read> old: array<f32>;
   override gone: u32 = 1; */
override workgroup: u32 = 8;  // override not_me: u32 = 1;
  override tile : u32 = 4u;
const fixed = 3;

struct Params {
  rows: u32,   // of x
  columns : u32,
  shape: vec4<u32>, scale: f32
}
struct Other { a: u32, }

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1)
var<storage, read_write> x: array<vec4<f32>>;
@group(0) @binding(2) var<storage,read> w: array<u32>;
@group(0) @binding(3) var<storage> implicit : array<f32>;
var<workgroup> shared: array<f32, tile>;
"""


def test_declarations_are_found() -> None:
    found = wgsl.read(SOURCE)
    assert list(found.params.items()) == [
        ("rows", "u32"),
        ("columns", "u32"),
        ("shape", "vec4<u32>"),
        ("scale", "f32"),
    ]
    assert {
        number: (one.name, one.space, one.access, one.type)
        for number, one in found.bindings.items()
        if number
    } == {
        1: ("x", "storage", "read_write", "array<vec4<f32>>"),
        2: ("w", "storage", "read", "array<u32>"),
        3: ("implicit", "storage", "read", "array<f32>"),
    }
    assert found.bindings[0].space == "uniform"
    assert found.overrides == {"workgroup", "tile"}
    assert found.enables == {"f16", "subgroups", "dual_source_blending"}


def test_nothing_is_found_in_nothing() -> None:
    found = wgsl.read("")
    assert not found.bindings and not found.params and not found.overrides and not found.enables
