// SPDX-License-Identifier: Apache-2.0
// One invocation copies a run of neighbours. As u32, so that no driver touches the bits.
override workgroup: u32 = 16;
override run: u32 = 16;
override axes: u32 = 4; // or 4: how many of the last axes may be longer than 1

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
@group(0) @binding(1) var<storage, read_write> x: array<u32>;
@group(0) @binding(2) var<storage, read_write> y: array<u32>;

// Return the place of a row on three axes, the first of which is not bounded.
fn split(row: u32, shape: vec4<u32>) -> vec3<i32> {
  let plane = row / shape.z;
  return vec3<i32>(vec3(plane / shape.y, plane % shape.y, row % shape.z));
}

@compute @workgroup_size(workgroup)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
  let inner = params.shape_inner;
  let outer = params.shape_outer;
  let width = inner.w;
  let runs = (width + run - 1) / run; // in a row
  let count = params.count / inner.w * runs;
  for (var i = id.x; i < count; i += groups.x * workgroup) {
    var row = i / runs;
    let start = (i - row * runs) * run;
    var from_x = i32(params.x_offset);
    var to_y = i32(params.y_offset);
    if (axes > 4) {
      let block = row / (inner.x * inner.y * inner.z);
      row -= block * inner.x * inner.y * inner.z;
      let place = vec4(split(block / outer.w, outer), i32(block % outer.w));
      from_x += dot(place, params.x_strides_outer);
      to_y += dot(place, params.y_strides_outer);
    }
    let place = split(row, inner);
    from_x += dot(place, params.x_strides_inner.xyz);
    to_y += dot(place, params.y_strides_inner.xyz);
    let end = min(width, start + run);
    for (var j = start; j < end; j++) {
      y[to_y + i32(j) * params.y_strides_inner.w] = x[from_x + i32(j) * params.x_strides_inner.w];
    }
  }
}
