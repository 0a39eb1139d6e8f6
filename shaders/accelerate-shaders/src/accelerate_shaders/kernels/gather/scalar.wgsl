// SPDX-License-Identifier: Apache-2.0
// One invocation copies a run of neighbours. As u32, so that no driver touches the bits.
override workgroup: u32 = 16;
override run: u32 = 16;

struct Params {
  outer: u32,
  axis_size: u32,
  inner: u32,
  count: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> x: array<u32>;
@group(0) @binding(2) var<storage, read_write> ids: array<i32>;
@group(0) @binding(3) var<storage, read_write> y: array<u32>;

@compute @workgroup_size(workgroup)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
  let width = params.inner;
  let runs = (width + run - 1) / run; // in a slice
  let size = i32(params.axis_size);
  for (var i = id.x; i < params.outer * params.count * runs; i += groups.x * workgroup) {
    let slice = i / runs;
    let given = ids[slice % params.count];
    let place = u32(clamp(select(given, given + size, given < 0), 0, size - 1));
    let from_x = (slice / params.count * params.axis_size + place) * width;
    let start = (i % runs) * run;
    let end = min(width, start + run);
    for (var j = start; j < end; j++) {
      y[slice * width + j] = x[from_x + j];
    }
  }
}
