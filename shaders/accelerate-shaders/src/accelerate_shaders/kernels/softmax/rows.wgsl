// SPDX-License-Identifier: Apache-2.0
// One invocation normalises one row at a time.
override workgroup: u32 = 8;

struct Params {
  rows: u32,
  columns: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(workgroup)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
  for (var row = id.x; row < params.rows; row += groups.x * workgroup) {
    let start = row * params.columns;
    let end = start + params.columns;
    var largest = x[start];
    for (var i = start + 1; i < end; i++) {
      largest = max(largest, x[i]);
    }
    var sum = 0.0;
    for (var i = start; i < end; i++) {
      let value = exp(x[i] - largest);
      y[i] = value;
      sum += value;
    }
    let scale = 1.0 / sum;
    for (var i = start; i < end; i++) {
      y[i] *= scale;
    }
  }
}
