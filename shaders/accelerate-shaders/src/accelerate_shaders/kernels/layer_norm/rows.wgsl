// SPDX-License-Identifier: Apache-2.0
// One invocation normalises one row at a time. The variance is taken around the mean, in a pass of
// its own: the difference of two sums loses all digits when the mean is large.
override workgroup: u32 = 8;
override has_bias: u32 = 0;

struct Params {
  rows: u32,
  columns: u32,
  has_bias: u32,
  epsilon: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> x: array<f32>;
@group(0) @binding(2) var<storage, read> weight: array<f32>;
@group(0) @binding(3) var<storage, read> bias: array<f32>;
@group(0) @binding(4) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(workgroup)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
  let columns = params.columns;
  for (var row = id.x; row < params.rows; row += groups.x * workgroup) {
    let start = row * columns;
    var sum = 0.0;
    for (var i = 0u; i < columns; i++) {
      sum += x[start + i];
    }
    let mean = sum / f32(columns);
    var squares = 0.0;
    for (var i = 0u; i < columns; i++) {
      let centred = x[start + i] - mean;
      squares += centred * centred;
    }
    let scale = 1.0 / sqrt(squares / f32(columns) + params.epsilon);
    for (var i = 0u; i < columns; i++) {
      var value = (x[start + i] - mean) * scale * weight[i];
      if (has_bias != 0) {
        value += bias[i];
      }
      y[start + i] = value;
    }
  }
}
