// SPDX-License-Identifier: Apache-2.0
// One invocation converts eight elements, a grid apart: starting one costs more than an element.
override workgroup: u32 = 64;

struct Params {
  count: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<i32>;

// Drivers do not agree on what a number out of range becomes.
fn whole(value: f32) -> i32 {
  if (value >= 2147483648.0) {
    return 2147483647;
  }
  return i32(max(value, -2147483648.0));
}

@compute @workgroup_size(workgroup)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
  for (var i = id.x; i < params.count; i += groups.x * workgroup) {
    y[i] = whole(x[i]);
  }
}
