// SPDX-License-Identifier: Apache-2.0
// One invocation normalises one row at a time.
override workgroup: u32 = 8;

struct Params {
  rows: u32,
  columns: u32,
  epsilon: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> x: array<f32>;
@group(0) @binding(2) var<storage, read> weight: array<f32>;
@group(0) @binding(3) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(workgroup)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
  let columns = params.columns;
  for (var row = id.x; row < params.rows; row += groups.x * workgroup) {
    let start = row * columns;
    var squares = 0.0;
    for (var i = start; i < start + columns; i++) {
      squares += x[i] * x[i];
    }
    let scale = 1.0 / sqrt(squares / f32(columns) + params.epsilon);
    for (var i = 0u; i < columns; i++) {
      y[start + i] = x[start + i] * scale * weight[i];
    }
  }
}
