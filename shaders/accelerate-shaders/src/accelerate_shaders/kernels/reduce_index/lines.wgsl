// SPDX-License-Identifier: Apache-2.0
// One invocation searches one line at a time.
override workgroup: u32 = 16;
override operation: u32 = 0;

struct Params {
  outer: u32,
  size: u32,
  inner: u32,
  operation: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<i32>;

@compute @workgroup_size(workgroup)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
  let step = params.inner;
  let sign = select(1.0, -1.0, operation == 1); // the least is the largest of the opposites
  for (var i = id.x; i < params.outer * step; i += groups.x * workgroup) {
    let start = i / step * params.size * step + i % step;
    var best = sign * x[start];
    var place = 0u;
    for (var j = 1u; j < params.size; j++) {
      let value = sign * x[start + j * step];
      if (value > best) {
        best = value;
        place = j;
      }
    }
    y[i] = i32(place);
  }
}
