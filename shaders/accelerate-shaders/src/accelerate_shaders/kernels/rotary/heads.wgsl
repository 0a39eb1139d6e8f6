// SPDX-License-Identifier: Apache-2.0
// One invocation turns one head of one row at a time.
override workgroup: u32 = 16;

struct Params {
  x_strides: vec4<u32>,
  y_strides: vec4<u32>,
  batch: u32,
  length: u32,
  heads: u32,
  size: u32,
  cos_stride: u32,
  interleaved: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> cos: array<f32>;
@group(0) @binding(3) var<storage, read_write> sin: array<f32>;
@group(0) @binding(4) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(workgroup)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
  let half = params.size / 2;
  let is_interleaved = params.interleaved != 0;
  for (var i = id.x; i < params.batch * params.length * params.heads; i += groups.x * workgroup) {
    let row = i / params.heads;
    let place = vec3(row / params.length, row % params.length, i % params.heads);
    let angle = place.x * params.cos_stride + place.y * params.size;
    let from_x = dot(place, params.x_strides.xyz);
    let to_y = dot(place, params.y_strides.xyz);
    for (var j = 0u; j < half; j++) {
      let first = select(j, j * 2, is_interleaved);
      let second = select(j + half, j * 2 + 1, is_interleaved);
      let a = x[from_x + first];
      let b = x[from_x + second];
      y[to_y + first] = a * cos[angle + first] - b * sin[angle + first];
      y[to_y + second] = b * cos[angle + second] + a * sin[angle + second];
    }
  }
}
