// SPDX-License-Identifier: Apache-2.0
// One invocation writes sixteen elements, a grid apart: starting one costs more than an element.
override workgroup: u32 = 64;

struct Params {
  count: u32,
  value: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> y: array<u32>;

@compute @workgroup_size(workgroup)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
  for (var i = id.x; i < params.count; i += groups.x * workgroup) {
    y[i] = params.value;
  }
}
