// SPDX-License-Identifier: Apache-2.0
// One workgroup normalises one row at a time.
// A power of two. Not `workgroup`: naga then takes `var<workgroup>` for it.
override group_size: u32 = 64;

struct Params {
  rows: u32,
  columns: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;

var<workgroup> partial: array<f32, group_size>;

// Return the largest value of all invocations, or their sum.
fn combine(local: u32, value: f32, is_sum: bool) -> f32 {
  partial[local] = value;
  for (var half = group_size / 2; half > 0; half /= 2) {
    workgroupBarrier();
    if (local < half) {
      let a = partial[local];
      let b = partial[local + half];
      partial[local] = select(max(a, b), a + b, is_sum);
    }
  }
  workgroupBarrier();
  let result = partial[0];
  workgroupBarrier(); // nobody may write partial[0] before all have read it
  return result;
}

@compute @workgroup_size(group_size)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(local_invocation_id) local: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
) {
  for (var row = group.x; row < params.rows; row += groups.x) {
    let start = row * params.columns;
    let end = start + params.columns;
    var most = x[start];
    for (var i = start + local.x; i < end; i += group_size) {
      most = max(most, x[i]);
    }
    let largest = combine(local.x, most, false);
    var sum = 0.0;
    for (var i = start + local.x; i < end; i += group_size) {
      sum += exp(x[i] - largest);
    }
    let scale = 1.0 / combine(local.x, sum, true);
    for (var i = start + local.x; i < end; i += group_size) {
      y[i] = exp(x[i] - largest) * scale;
    }
  }
}
