// SPDX-License-Identifier: Apache-2.0
// One invocation unpacks one word at a time: 1 row of four columns.
override workgroup: u32 = 64;

struct Params {
  k: u32,
  n: u32,
  group: u32,
  gain: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> w: array<u32>;
@group(0) @binding(2) var<storage, read> scales: array<u32>;
@group(0) @binding(3) var<storage, read> zeros: array<u32>;
@group(0) @binding(4) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(workgroup)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
  let steps = (params.k + 0) / 1; // of a panel of 16 columns
  let groups_of_rows = (params.k + params.group - 1) / params.group;
  let count = (params.n + 15) / 16 * steps * 4;
  for (var i = id.x; i < count; i += groups.x * workgroup) {
    let word = w[i];
    let step = i / 4;
    let panel = step / steps;
    let lane = i % 4 * 4;
    for (var j = 0u; j < 4; j++) {
      let row = step % steps * 1 + j / 4;
      let column = panel * 16 + lane + j % 4;
      if (row < params.k && column < params.n) {
        let code = (word >> (j % 4 * 8 + j / 4 * 0)) & 255;
        let place = (panel * groups_of_rows + row / params.group) * 16 + lane + j % 4;
        let scale = unpack2x16float(scales[place / 2])[place % 2];
        let zero = unpack2x16float(zeros[place / 2])[place % 2];
        y[row * params.n + column] = params.gain * scale * (f32(code) - zero);
      }
    }
  }
}
