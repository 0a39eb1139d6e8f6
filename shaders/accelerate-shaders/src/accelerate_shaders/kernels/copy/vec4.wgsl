// SPDX-License-Identifier: Apache-2.0
// One invocation copies four neighbours at a time.
override workgroup: u32 = 64;

struct Params {
  shape_outer: vec4<u32>,
  shape_inner: vec4<u32>,
  x_strides_outer: vec4<i32>,
  x_strides_inner: vec4<i32>,
  y_strides_outer: vec4<i32>,
  y_strides_inner: vec4<i32>,
  x_offset: u32,
  y_offset: u32,
  count: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> x: array<vec4<u32>>;
@group(0) @binding(2) var<storage, read_write> y: array<vec4<u32>>;

// Return the place of an element on four axes, the first of which is not bounded.
fn split(index: u32, shape: vec4<u32>) -> vec4<i32> {
  let row = index / shape.w;
  let plane = row / shape.z;
  return vec4<i32>(vec4(plane / shape.y, plane % shape.y, row % shape.z, index % shape.w));
}

fn sum(parts: vec4<i32>) -> i32 {
  return parts.x + parts.y + parts.z + parts.w;
}

@compute @workgroup_size(workgroup)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
  let inner = params.shape_inner.x * params.shape_inner.y * params.shape_inner.z * params.shape_inner.w;
  for (var i = id.x; i < params.count / 4; i += groups.x * workgroup) {
    var place = i * 4;
    var from_x = i32(params.x_offset);
    var to_y = i32(params.y_offset);
    if (inner < params.count) { // most copies have four axes or fewer, and divisions are slow
      let outer = split(place / inner, params.shape_outer);
      from_x += sum(outer * params.x_strides_outer);
      to_y += sum(outer * params.y_strides_outer);
      place %= inner;
    }
    let at = split(place, params.shape_inner);
    from_x += sum(at * params.x_strides_inner);
    to_y += sum(at * params.y_strides_inner);
    y[to_y / 4] = x[from_x / 4];
  }
}
