// SPDX-License-Identifier: Apache-2.0
// One invocation makes four channels of four neighbours in a row at a time.
override workgroup: u32 = 16;

struct Params {
  batch: u32,
  channels: u32,
  out_channels: u32,
  groups: u32,
  has_bias: u32,
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
@group(0) @binding(2) var<storage, read> w: array<vec4<f32>>; // four output channels side by side
@group(0) @binding(3) var<storage, read> bias: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> y: array<f32>;

fn store(at: u32, plane: u32, value: vec4<f32>) {
  y[at] = value.x;
  y[at + plane] = value.y;
  y[at + 2 * plane] = value.z;
  y[at + 3 * plane] = value.w;
}

@compute @workgroup_size(workgroup)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
  let tiles = (params.out_width + 3) / 4; // in a row
  let depth = params.channels / params.groups;
  let step = params.stride_x;
  let count = params.batch * (params.out_channels / 4) * params.out_height * tiles;
  for (var i = id.x; i < count; i += groups.x * workgroup) {
    let line = i / tiles;
    let left = (i % tiles) * 4;
    let plane = line / params.out_height;
    let top = line % params.out_height;
    let image = plane / (params.out_channels / 4);
    let quad = plane % (params.out_channels / 4);
    let first = quad * 4 / (params.out_channels / params.groups) * depth; // channel it sees
    var c0 = select(vec4<f32>(), bias[quad], params.has_bias != 0);
    var c1 = c0;
    var c2 = c0;
    var c3 = c0;
    for (var channel = 0u; channel < depth; channel++) {
      let image_row = (image * params.channels + first + channel) * params.height;
      for (var j = 0u; j < params.kernel_height; j++) {
        // Unsigned: what lies above or left of the image wraps round to beyond its end.
        let row = top * params.stride_y + j * params.dilation_y - params.pad_y;
        let start = (image_row + row) * params.width;
        let width = select(0, params.width, row < params.height);
        let kernel_row = (quad * depth + channel) * params.kernel_height + j;
        for (var k = 0u; k < params.kernel_width; k++) {
          let a = left * step + k * params.dilation_x - params.pad_x;
          let b = a + step;
          let c = b + step;
          let d = c + step;
          let weight = w[kernel_row * params.kernel_width + k];
          c0 += weight * select(0.0, x[start + a], a < width);
          c1 += weight * select(0.0, x[start + b], b < width);
          c2 += weight * select(0.0, x[start + c], c < width);
          c3 += weight * select(0.0, x[start + d], d < width);
        }
      }
    }
    let there = min(params.out_width - left, 4);
    let pixels = params.out_height * params.out_width;
    let at = plane * 4 * pixels + top * params.out_width + left;
    store(at, pixels, c0);
    if (there > 1) {
      store(at + 1, pixels, c1);
    }
    if (there > 2) {
      store(at + 2, pixels, c2);
    }
    if (there > 3) {
      store(at + 3, pixels, c3);
    }
  }
}
