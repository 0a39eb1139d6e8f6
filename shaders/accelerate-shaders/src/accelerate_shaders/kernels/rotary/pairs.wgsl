// SPDX-License-Identifier: Apache-2.0
// One invocation turns one pair at a time.
override workgroup: u32 = 64;

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

// Turn pair `j` of head `i`; heads are counted batch by batch, row by row.
fn turn(i: u32, j: u32) {
  let row = i / params.heads;
  let place = vec3(row / params.length, row % params.length, i % params.heads);
  let half = params.size / 2;
  let first = select(j, j * 2, params.interleaved != 0);
  let second = first + select(half, 1, params.interleaved != 0);
  let angle = place.x * params.cos_stride + place.y * params.size;
  let from_x = dot(place, params.x_strides.xyz);
  let to_y = dot(place, params.y_strides.xyz);
  let a = x[from_x + first];
  let b = x[from_x + second];
  y[to_y + first] = a * cos[angle + first] - b * sin[angle + first];
  y[to_y + second] = b * cos[angle + second] + a * sin[angle + second];
}

@compute @workgroup_size(workgroup)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
  let half = params.size / 2;
  let count = params.batch * params.length * params.heads * half;
  for (var i = id.x; i < count; i += groups.x * workgroup) {
    turn(i / half, i % half);
  }
}
