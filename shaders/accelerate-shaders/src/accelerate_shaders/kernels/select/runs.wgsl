// SPDX-License-Identifier: Apache-2.0
// One invocation makes a run of neighbours. As u32, so that no driver touches the bits.
override workgroup: u32 = 16;
override run: u32 = 16;

struct Params {
  shape: vec4<u32>,
  condition_strides: vec4<u32>,
  a_strides: vec4<u32>,
  b_strides: vec4<u32>,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> condition: array<i32>;
@group(0) @binding(2) var<storage, read_write> a: array<u32>;
@group(0) @binding(3) var<storage, read_write> b: array<u32>;
@group(0) @binding(4) var<storage, read_write> y: array<u32>;

@compute @workgroup_size(workgroup)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
  let shape = params.shape;
  let width = shape.w;
  let runs = (width + run - 1) / run; // in a row
  let count = shape.x * shape.y * shape.z * runs;
  for (var i = id.x; i < count; i += groups.x * workgroup) {
    let row = i / runs;
    let plane = row / shape.z;
    let place = vec3(plane / shape.y, plane % shape.y, row % shape.z);
    let condition_at = dot(place, params.condition_strides.xyz);
    let a_at = dot(place, params.a_strides.xyz);
    let b_at = dot(place, params.b_strides.xyz);
    let start = (i % runs) * run;
    let end = min(width, start + run);
    for (var j = start; j < end; j++) {
      let is_a = condition[condition_at + j * params.condition_strides.w] != 0;
      let left = a[a_at + j * params.a_strides.w];
      y[row * width + j] = select(b[b_at + j * params.b_strides.w], left, is_a);
    }
  }
}
