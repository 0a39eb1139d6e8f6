// SPDX-License-Identifier: Apache-2.0
// One invocation makes one element at a time. The numbers are those of `codes.Pool`.
override workgroup: u32 = 16;
override operation: u32 = 0;

struct Params {
  images: u32,
  operation: u32,
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
  let pixels = params.out_height * params.out_width;
  for (var i = id.x; i < params.images * pixels; i += groups.x * workgroup) {
    let image = i / pixels;
    let top = i % pixels / params.out_width;
    let left = i % params.out_width;
    var largest = -3.4028234e38;
    var sum = 0.0;
    var seen = 0u;
    for (var j = 0u; j < params.kernel_height; j++) {
      // Unsigned: what lies above or left of the image wraps round to beyond its end.
      let row = top * params.stride_y + j * params.dilation_y - params.pad_y;
      let start = (image * params.height + row) * params.width;
      for (var k = 0u; k < params.kernel_width; k++) {
        let column = left * params.stride_x + k * params.dilation_x - params.pad_x;
        if (row < params.height && column < params.width) {
          let value = x[start + column];
          largest = max(largest, value);
          sum += value;
          seen++;
        }
      }
    }
    switch (operation) {
      case 0: { y[i] = largest; }
      case 1: { y[i] = sum / f32(seen); }
      default: { y[i] = sum / f32(params.kernel_height * params.kernel_width); }
    }
  }
}
