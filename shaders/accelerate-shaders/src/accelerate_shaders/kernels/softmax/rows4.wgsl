// SPDX-License-Identifier: Apache-2.0
// `rows` with four columns at a time.
override workgroup: u32 = 8;

struct Params {
  rows: u32,
  columns: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> x: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> y: array<vec4<f32>>;

@compute @workgroup_size(workgroup)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
  let count = params.columns / 4;
  for (var row = id.x; row < params.rows; row += groups.x * workgroup) {
    let start = row * count;
    let end = start + count;
    var most = x[start];
    for (var i = start + 1; i < end; i++) {
      most = max(most, x[i]);
    }
    let largest = max(max(most.x, most.y), max(most.z, most.w));
    var sums = vec4<f32>();
    for (var i = start; i < end; i++) {
      let value = exp(x[i] - largest);
      y[i] = value;
      sums += value;
    }
    let scale = 1.0 / dot(sums, vec4(1.0));
    for (var i = start; i < end; i++) {
      y[i] *= scale;
    }
  }
}
