// SPDX-License-Identifier: Apache-2.0
// One invocation makes one row of one window in one channel at a time.
override workgroup: u32 = 64;

struct Params {
  x_strides: vec4<u32>,
  batch: u32,
  channels: u32,
  height: u32,
  width: u32,
  kernel_height: u32,
  kernel_width: u32,
  out_height: u32,
  out_width: u32,
  stride_y: u32,
  stride_x: u32,
  dilation_y: u32,
  dilation_x: u32,
  pad_y: u32,
  pad_x: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(workgroup)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
  let rows = params.channels * params.kernel_height; // of one window
  let places = params.out_height * params.out_width;
  let count = params.batch * places * rows;
  for (var i = id.x; i < count; i += groups.x * workgroup) {
    let window = i / rows;
    let channel = i % rows / params.kernel_height;
    let image = window / places;
    let place = window % places;
    // Unsigned: what lies above or left of the image wraps round to beyond its end.
    let row = place / params.out_width * params.stride_y + i % params.kernel_height * params.dilation_y
      - params.pad_y;
    let first = place % params.out_width * params.stride_x - params.pad_x;
    let start = dot(vec3(image, channel, row), params.x_strides.xyz);
    for (var j = 0u; j < params.kernel_width; j++) {
      let column = first + j * params.dilation_x;
      var value = 0.0;
      if (row < params.height && column < params.width) {
        value = x[start + column * params.x_strides.w];
      }
      y[i * params.kernel_width + j] = value;
    }
  }
}
