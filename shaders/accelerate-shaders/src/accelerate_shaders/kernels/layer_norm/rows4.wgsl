// SPDX-License-Identifier: Apache-2.0
// `rows` with four columns at a time.
override workgroup: u32 = 8;
override has_bias: u32 = 0;

struct Params {
  rows: u32,
  columns: u32,
  has_bias: u32,
  epsilon: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> x: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> weight: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> bias: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> y: array<vec4<f32>>;

@compute @workgroup_size(workgroup)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
  let count = params.columns / 4;
  let per_column = 1.0 / f32(params.columns);
  for (var row = id.x; row < params.rows; row += groups.x * workgroup) {
    let start = row * count;
    var sums = vec4<f32>();
    for (var i = 0u; i < count; i++) {
      sums += x[start + i];
    }
    let mean = dot(sums, vec4(per_column));
    var squares = vec4<f32>();
    for (var i = 0u; i < count; i++) {
      let centred = x[start + i] - mean;
      squares += centred * centred;
    }
    let scale = 1.0 / sqrt(dot(squares, vec4(per_column)) + params.epsilon);
    for (var i = 0u; i < count; i++) {
      var value = (x[start + i] - mean) * scale * weight[i];
      if (has_bias != 0) {
        value += bias[i];
      }
      y[start + i] = value;
    }
  }
}
