// SPDX-License-Identifier: Apache-2.0
// `rows` with four columns at a time.
override workgroup: u32 = 8;

struct Params {
  rows: u32,
  columns: u32,
  epsilon: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> x: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> weight: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> y: array<vec4<f32>>;

@compute @workgroup_size(workgroup)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
  let count = params.columns / 4;
  for (var row = id.x; row < params.rows; row += groups.x * workgroup) {
    let start = row * count;
    var squares = vec4<f32>();
    for (var i = start; i < start + count; i++) {
      let value = x[i];
      squares += value * value;
    }
    let mean = dot(squares, vec4(1.0 / f32(params.columns)));
    let scale = 1.0 / sqrt(mean + params.epsilon);
    for (var i = 0u; i < count; i++) {
      y[start + i] = x[start + i] * scale * weight[i];
    }
  }
}
