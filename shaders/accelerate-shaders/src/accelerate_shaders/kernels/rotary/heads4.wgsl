// SPDX-License-Identifier: Apache-2.0
// `heads` with four pairs at a time, each half of a head being whole vec4s.
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
@group(0) @binding(1) var<storage, read_write> x: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> cos: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> sin: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> y: array<vec4<f32>>;

@compute @workgroup_size(workgroup)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
  let half = params.size / 8;
  for (var i = id.x; i < params.batch * params.length * params.heads; i += groups.x * workgroup) {
    let row = i / params.heads;
    let place = vec3(row / params.length, row % params.length, i % params.heads);
    let angle = (place.x * params.cos_stride + place.y * params.size) / 4;
    let from_x = dot(place, params.x_strides.xyz) / 4;
    let to_y = dot(place, params.y_strides.xyz) / 4;
    for (var j = 0u; j < half; j++) {
      let a = x[from_x + j];
      let b = x[from_x + j + half];
      y[to_y + j] = a * cos[angle + j] - b * sin[angle + j];
      y[to_y + j + half] = b * cos[angle + j + half] + a * sin[angle + j + half];
    }
  }
}
