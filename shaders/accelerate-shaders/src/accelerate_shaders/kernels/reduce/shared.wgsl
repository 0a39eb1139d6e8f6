// SPDX-License-Identifier: Apache-2.0
// One workgroup reduces one line at a time.
// A power of two. Not `workgroup`: naga then takes `var<workgroup>` for it.
override group_size: u32 = 64;
// A pipeline for each of `codes.Reduce`: software adapters run every case of a `switch`.
override operation: u32 = 0;

struct Params {
  outer: u32,
  size: u32,
  inner: u32,
  operation: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;

var<workgroup> partial: array<f32, group_size>;

// Return the total of no values; of extremes, any value of the line will do.
fn nothing(value: f32) -> f32 {
  switch (operation) {
    case 2, 3: { return value; }
    case 4: { return 1.0; }
    default: { return 0.0; }
  }
}

// Add a value to a total; of the logarithm of exponentials, what the largest leaves of it.
fn add(total: f32, value: f32, largest: f32) -> f32 {
  switch (operation) {
    case 2: { return max(total, value); }
    case 3: { return min(total, value); }
    case 4: { return total * value; }
    case 5: { return total + abs(value); }
    case 6, 7: { return total + value * value; }
    case 8: { return total + exp(value - largest); }
    default: { return total + value; }
  }
}

fn combine(a: f32, b: f32) -> f32 {
  switch (operation) {
    case 2: { return max(a, b); }
    case 3: { return min(a, b); }
    case 4: { return a * b; }
    default: { return a + b; }
  }
}

fn finish(total: f32, largest: f32) -> f32 {
  switch (operation) {
    case 1: { return total / f32(params.size); }
    case 6: { return sqrt(total); }
    case 8: { return log(total) + largest; }
    default: { return total; }
  }
}

// Return the largest value of all invocations, or their totals together.
fn share(local: u32, value: f32, is_largest: bool) -> f32 {
  partial[local] = value;
  for (var half = group_size / 2; half > 0; half /= 2) {
    workgroupBarrier();
    if (local < half) {
      let a = partial[local];
      let b = partial[local + half];
      partial[local] = select(combine(a, b), max(a, b), is_largest);
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
  let step = params.inner;
  for (var i = group.x; i < params.outer * step; i += groups.x) {
    let start = i / step * params.size * step + i % step;
    let end = start + params.size * step;
    var largest = x[start];
    if (operation == 8) {
      for (var j = start + local.x * step; j < end; j += group_size * step) {
        largest = max(largest, x[j]);
      }
      largest = share(local.x, largest, true);
    }
    var total = nothing(x[start]);
    for (var j = start + local.x * step; j < end; j += group_size * step) {
      total = add(total, x[j], largest);
    }
    let all = share(local.x, total, false);
    if (local.x == 0) {
      y[i] = finish(all, largest);
    }
  }
}
