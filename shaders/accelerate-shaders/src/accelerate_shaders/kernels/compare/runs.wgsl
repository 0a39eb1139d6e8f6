// SPDX-License-Identifier: Apache-2.0
// One invocation makes a run of neighbours. The numbers are those of `codes.Compare`.
override workgroup: u32 = 16;
override run: u32 = 16;
// A pipeline for each: software adapters run every case of a `switch` and mask what is not wanted.
override operation: u32 = 0;

struct Params {
  shape: vec4<u32>,
  a_strides: vec4<u32>,
  b_strides: vec4<u32>,
  operation: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> a: array<f32>;
@group(0) @binding(2) var<storage, read_write> b: array<f32>;
@group(0) @binding(3) var<storage, read_write> y: array<i32>;

fn apply(a: f32, b: f32) -> i32 {
  switch (operation) {
    case 9: { return i32(a == b); }
    case 10: { return i32(a != b); }
    case 11: { return i32(a < b); }
    case 12: { return i32(a <= b); }
    case 13: { return i32(a > b); }
    case 14: { return i32(a >= b); }
    default: { return 0; }
  }
}

@compute @workgroup_size(workgroup)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
  let shape = params.shape;
  let width = shape.w;
  let runs = (width + run - 1) / run; // in a row
  let count = shape.x * shape.y * shape.z * runs;
  for (var i = id.x; i < count; i += groups.x * workgroup) {
    let row = i / runs;
    let plane = row / shape.z;
    let place = vec3(plane / shape.y, plane % shape.y, row % shape.z);
    let a_at = dot(place, params.a_strides.xyz);
    let b_at = dot(place, params.b_strides.xyz);
    let start = (i % runs) * run;
    let end = min(width, start + run);
    for (var j = start; j < end; j++) {
      y[row * width + j] = apply(a[a_at + j * params.a_strides.w], b[b_at + j * params.b_strides.w]);
    }
  }
}
