// SPDX-License-Identifier: Apache-2.0
// One invocation adds up one row at a time.
override workgroup: u32 = 16;

struct Params {
  outer: u32,
  size: u32,
  inner: u32,
  is_exclusive: u32,
  is_reverse: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(workgroup)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
  let size = params.size;
  for (var row = id.x; row < params.outer * params.inner; row += groups.x * workgroup) {
    let start = row / params.inner * size * params.inner + row % params.inner;
    var sum = 0.0;
    for (var i = 0u; i < size; i++) {
      let place = start + select(i, size - 1 - i, params.is_reverse != 0) * params.inner;
      let before = sum;
      sum += x[place];
      y[place] = select(sum, before, params.is_exclusive != 0);
    }
  }
}
