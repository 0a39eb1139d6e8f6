// SPDX-License-Identifier: Apache-2.0
// One invocation reduces one row at a time, four values at once.
override workgroup: u32 = 8;
// A pipeline for each of `codes.Reduce`: software adapters run every case of a `switch`.
override operation: u32 = 0;

struct Params {
  outer: u32,
  size: u32,
  inner: u32,
  operation: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> x: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;

// Return the total of no values; of extremes, any value of the line will do.
fn nothing(value: vec4<f32>) -> vec4<f32> {
  switch (operation) {
    case 2, 3: { return value; }
    case 4: { return vec4(1.0); }
    default: { return vec4<f32>(); }
  }
}

// Add a value to a total; of the logarithm of exponentials, what the largest leaves of it.
fn add(total: vec4<f32>, value: vec4<f32>, largest: f32) -> vec4<f32> {
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

@compute @workgroup_size(workgroup)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
  let count = params.size / 4;
  for (var row = id.x; row < params.outer; row += groups.x * workgroup) {
    let start = row * count;
    let end = start + count;
    var most = x[start];
    if (operation == 8) {
      for (var j = start + 1; j < end; j++) {
        most = max(most, x[j]);
      }
    }
    let largest = max(max(most.x, most.y), max(most.z, most.w));
    var total = nothing(x[start]);
    for (var j = start; j < end; j++) {
      total = add(total, x[j], largest);
    }
    y[row] = finish(combine(combine(total.x, total.y), combine(total.z, total.w)), largest);
  }
}
