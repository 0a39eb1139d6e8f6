// SPDX-License-Identifier: Apache-2.0
// One workgroup normalises one row at a time.
// A power of two. Not `workgroup`: naga then takes `var<workgroup>` for it.
override group_size: u32 = 64;
override has_bias: u32 = 0;

struct Params {
  rows: u32,
  columns: u32,
  has_bias: u32,
  epsilon: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> x: array<f32>;
@group(0) @binding(2) var<storage, read> weight: array<f32>;
@group(0) @binding(3) var<storage, read> bias: array<f32>;
@group(0) @binding(4) var<storage, read_write> y: array<f32>;

var<workgroup> partial: array<f32, group_size>;

// Sum one value of each invocation.
fn total(local: u32, value: f32) -> f32 {
  partial[local] = value;
  for (var half = group_size / 2; half > 0; half /= 2) {
    workgroupBarrier();
    if (local < half) {
      partial[local] += partial[local + half];
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
  let columns = params.columns;
  for (var row = group.x; row < params.rows; row += groups.x) {
    let start = row * columns;
    var sum = 0.0;
    for (var i = local.x; i < columns; i += group_size) {
      sum += x[start + i];
    }
    let mean = total(local.x, sum) / f32(columns);
    var squares = 0.0;
    for (var i = local.x; i < columns; i += group_size) {
      let centred = x[start + i] - mean;
      squares += centred * centred;
    }
    let scale = 1.0 / sqrt(total(local.x, squares) / f32(columns) + params.epsilon);
    for (var i = local.x; i < columns; i += group_size) {
      var value = (x[start + i] - mean) * scale * weight[i];
      if (has_bias != 0) {
        value += bias[i];
      }
      y[start + i] = value;
    }
  }
}
