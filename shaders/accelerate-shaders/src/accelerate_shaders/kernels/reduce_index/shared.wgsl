// SPDX-License-Identifier: Apache-2.0
// One workgroup searches one line at a time.
// A power of two. Not `workgroup`: naga then takes `var<workgroup>` for it.
override group_size: u32 = 64;
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

var<workgroup> values: array<f32, group_size>;
var<workgroup> places: array<u32, group_size>;

@compute @workgroup_size(group_size)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(local_invocation_id) local: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
) {
  let step = params.inner;
  let sign = select(1.0, -1.0, operation == 1); // the least is the largest of the opposites
  for (var i = group.x; i < params.outer * step; i += groups.x) {
    let start = i / step * params.size * step + i % step;
    var best = sign * x[start];
    var place = 0u;
    for (var j = local.x; j < params.size; j += group_size) {
      let value = sign * x[start + j * step];
      if (value > best) {
        best = value;
        place = j;
      }
    }
    values[local.x] = best;
    places[local.x] = place;
    for (var half = group_size / 2; half > 0; half /= 2) {
      workgroupBarrier();
      if (local.x < half) {
        let other = values[local.x + half];
        let there = places[local.x + half];
        let is_first = other == values[local.x] && there < places[local.x];
        if (other > values[local.x] || is_first) {
          values[local.x] = other;
          places[local.x] = there;
        }
      }
    }
    if (local.x == 0) {
      y[i] = i32(places[0]);
    }
    workgroupBarrier(); // nobody may begin the next line before it was written
  }
}
