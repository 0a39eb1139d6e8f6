// SPDX-License-Identifier: Apache-2.0
// One invocation makes four mels of one row at a time.
override workgroup: u32 = 16;

struct Params {
  rows: u32,
  bins: u32,
  mels: u32,
  floor: f32,
  scale: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> x: array<vec2<f32>>;
@group(0) @binding(2) var<storage, read> filters: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> y: array<vec4<f32>>;

@compute @workgroup_size(workgroup)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
  let width = params.mels / 4;
  for (var i = id.x; i < params.rows * width; i += groups.x * workgroup) {
    let row = i / width;
    let mel = i % width;
    var energy = vec4<f32>();
    for (var bin = 0u; bin < params.bins; bin++) {
      let value = x[row * params.bins + bin];
      energy += dot(value, value) * filters[bin * width + mel];
    }
    y[i] = params.scale * log(max(energy, vec4(params.floor)));
  }
}
